"""A stream read ahead: in order, bounded, with its errors, and without a thread that stays."""

import threading
from collections.abc import Iterator

import pytest

from assets.lake.read_ahead import ReadAhead


def _reading_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "read-ahead"]


def test_items_come_in_order_and_not_more_than_the_limit_ahead() -> None:
    read: list[int] = []
    furthest = 0

    def stream() -> Iterator[int]:
        for number in range(50):
            read.append(number)
            yield number

    with ReadAhead(stream(), limit=3) as items:
        taken = []
        for item in items:
            taken.append(item)
            furthest = max(furthest, len(read) - len(taken))

    assert taken == list(range(50))
    # Three in the queue, and one in the hands of the thread.
    assert furthest <= 4


def test_what_the_stream_raises_is_raised_after_what_it_gave() -> None:
    def stream() -> Iterator[int]:
        yield 1
        raise OSError("the server went away")

    taken = []
    with ReadAhead(stream(), limit=3) as items:
        taken.append(next(items))
        with pytest.raises(OSError, match="went away"):
            next(items)

    assert taken == [1]


def test_a_reader_that_leaves_early_ends_the_thread_and_closes_the_stream() -> None:
    closed = threading.Event()

    def stream() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            closed.set()

    source = stream()
    with ReadAhead(source, limit=2) as items:
        assert next(items) == 0

    assert not _reading_threads()
    assert closed.is_set()
