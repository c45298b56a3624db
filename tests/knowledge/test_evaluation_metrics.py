"""Metrics against values worked out by hand, and intervals that hold what they promise."""

from math import log2
from uuid import UUID

import numpy as np
import pytest

from knowledge.evaluation.confidence import compare_means, estimate_mean
from knowledge.evaluation.metrics import (
    compute_ndcg,
    compute_recall,
    compute_reciprocal_rank,
)

A, B, C, D = (UUID(int=number) for number in range(1, 5))


def test_ndcg_discounts_the_grades_by_rank() -> None:
    gain = 1 / log2(2) + 0 + 3 / log2(4)
    ideal = 3 / log2(2) + 2 / log2(3) + 1 / log2(4)

    assert compute_ndcg([C, D, A], {A: 3, B: 2, C: 1}) == pytest.approx(gain / ideal)


def test_ndcg_is_one_for_the_ideal_order_and_zero_for_none_of_it() -> None:
    grades = {A: 3, B: 2, C: 1}

    assert compute_ndcg([A, B, C, D], grades) == pytest.approx(1)
    assert compute_ndcg([D], grades) == 0
    assert compute_ndcg([], grades) == 0


def test_ndcg_looks_at_the_first_ten_only() -> None:
    others = [UUID(int=number) for number in range(100, 110)]

    assert compute_ndcg([*others, A], {A: 3}) == 0
    assert compute_ndcg([*others[:9], A], {A: 3}) == pytest.approx(1 / log2(11))


def test_more_relevant_chunks_than_ranks_can_still_be_ideal() -> None:
    many = [UUID(int=number) for number in range(100, 130)]

    assert compute_ndcg(many, dict.fromkeys(many, 2)) == pytest.approx(1)


def test_a_chunk_that_only_helps_counts_for_ndcg_alone() -> None:
    grades = {A: 3, B: 2, C: 1}

    assert compute_reciprocal_rank([C, D, B], grades) == pytest.approx(1 / 3)
    assert compute_recall([C, D, B], grades, 3) == 0.5
    assert compute_ndcg([C], grades) > 0


def test_reciprocal_rank_is_cut_off() -> None:
    others = [UUID(int=number) for number in range(100, 110)]

    assert compute_reciprocal_rank([*others, A], {A: 3}) == 0
    assert compute_reciprocal_rank([A], {A: 3}) == 1


def test_recall_counts_each_relevant_chunk() -> None:
    grades = {A: 3, B: 3, C: 2}

    assert compute_recall([A, D, B, C], grades, 3) == pytest.approx(2 / 3)
    assert compute_recall([A, D, B, C], grades, 4) == 1


@pytest.mark.parametrize("compute", [compute_reciprocal_rank, compute_ndcg])
def test_without_a_relevant_chunk_nothing_is_measured(compute) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="cannot be measured"):
        compute([A], {})


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.1, size=400)

    estimate = estimate_mean(list(values))

    margin = 1.96 * values.std() / np.sqrt(len(values))
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - margin, abs=margin / 10)
    assert estimate.high == pytest.approx(values.mean() + margin, abs=margin / 10)
    assert estimate == estimate_mean(list(values))


def test_the_interval_holds_the_true_mean_19_times_of_20() -> None:
    generator = np.random.default_rng(2)
    samples = [generator.random(60) for _ in range(200)]

    held = [estimate.low <= 0.5 <= estimate.high for estimate in map(estimate_mean, samples)]

    assert 0.9 <= np.mean(held) <= 0.99


def test_a_small_but_steady_gain_is_seen_where_queries_differ_widely() -> None:
    hardness = np.random.default_rng(3).random(80)
    better = list(hardness + 0.01)

    difference = compare_means(better, list(hardness))

    assert difference.value == pytest.approx(0.01)
    assert difference.is_positive
    # Side by side the two intervals overlap almost wholly.
    assert estimate_mean(better).low < estimate_mean(list(hardness)).high


def test_chance_is_no_difference() -> None:
    generator = np.random.default_rng(4)
    difference = compare_means(list(generator.random(50)), list(generator.random(50)))

    assert not difference.is_positive
    assert not difference.is_negative


def test_unequal_numbers_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_means([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one"):
        estimate_mean([])
