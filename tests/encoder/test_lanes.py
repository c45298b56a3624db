"""Which texts make the next batch."""

import random

import pytest

from encoder.lanes import Job, Lane, padded_tokens
from knowledge.encoding.tokenization import TokenizedText


def _text(length: int) -> TokenizedText:
    return TokenizedText([0] * length, [1] * length, [True] * length)


def _job(*lengths: int) -> Job:
    return Job([_text(length) for length in lengths], with_tokens=False)


def _drain(lane: Lane, budget: int) -> list[list[int]]:
    """The lengths of the texts of all batches, in the order they are run."""
    batches = []
    while lane:
        batch = lane.next_batch(budget)
        assert padded_tokens(batch) <= budget or len(batch) == 1
        batches.append(sorted(len(job.texts[position]) for job, position in batch))
    return batches


def test_texts_of_like_length_go_together_whoever_they_belong_to() -> None:
    lane = Lane()
    lane.add(_job(10, 200))
    lane.add(_job(190, 12))

    assert _drain(lane, 400) == [[10, 12], [190, 200]]


def test_a_text_over_the_budget_goes_alone() -> None:
    lane = Lane()
    lane.add(_job(300, 10))

    assert _drain(lane, 100) == [[300], [10]]


def test_padding_that_costs_more_than_a_batch_is_not_done() -> None:
    lane = Lane()
    lane.add(_job(3, 256))

    assert _drain(lane, 4096) == [[3], [256]]


def test_a_small_job_is_not_held_up_by_a_large_ones_rest() -> None:
    lane = Lane()
    large, small = _job(*[100] * 500), _job(20)
    lane.add(large)
    lane.add(small)

    lane.next_batch(400)
    second = lane.next_batch(400)

    assert (small, 0) in second


def test_the_first_text_of_the_first_job_never_waits() -> None:
    lane = Lane()
    odd = _job(256)
    lane.add(odd)
    for _ in range(100):
        lane.add(_job(5, 6, 7))

    assert lane.next_batch(512) == [(odd, 0)]


def test_a_dropped_job_is_gone_with_its_tokens() -> None:
    lane = Lane()
    job = _job(10, 20, 30)
    lane.add(job)

    assert lane.drop(job) == 60
    assert lane.drop(job) == 0
    assert not lane


@pytest.mark.parametrize("seed", range(20))
def test_every_text_is_run_once(seed: int) -> None:
    chance = random.Random(seed)
    lane = Lane()
    jobs = [
        _job(*(chance.randint(1, 256) for _ in range(chance.randint(1, 90)))) for _ in range(20)
    ]
    for job in jobs:
        lane.add(job)
    seen: list[tuple[int, int]] = []
    while lane:
        batch = lane.next_batch(1024)
        assert padded_tokens(batch) <= 1024
        seen += [(jobs.index(job), position) for job, position in batch]

    assert sorted(seen) == [
        (number, position) for number, job in enumerate(jobs) for position in range(len(job.texts))
    ]
