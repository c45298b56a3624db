"""How pulled messages are described by sequence ranges."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from resources.batch_messages import MessageStamp, SequenceRange, ranges_of


def _stamps(*sequences: int, delivered: int = 1, first_delivery: int = 1) -> list[MessageStamp]:
    return [
        MessageStamp(
            sequence=sequence,
            consumer_sequence=first_delivery + index,
            delivered=delivered,
            published_at=datetime(2026, 1, 1, tzinfo=UTC),
            event_id=None,
        )
        for index, sequence in enumerate(sequences)
    ]


@pytest.mark.parametrize(
    ("stamps", "ranges"),
    [
        ([], []),
        (_stamps(7), [SequenceRange(7, 7, 1)]),
        (_stamps(1, 2, 3), [SequenceRange(1, 3, 3)]),
        # Other subjects lie between, however far: first deliveries leave nothing out.
        (_stamps(1, 5, 90_000), [SequenceRange(1, 90_000, 3)]),
        # Redeliveries say nothing about what lies between.
        (
            _stamps(1, 90_000, delivered=2),
            [SequenceRange(1, 1, 1), SequenceRange(90_000, 90_000, 1)],
        ),
        (_stamps(10, 20, delivered=2), [SequenceRange(10, 20, 2)]),
        # A redelivered message before a stretch of new ones.
        (
            [*_stamps(5, delivered=3), *_stamps(7_000, 7_003, first_delivery=9)],
            [SequenceRange(5, 5, 1), SequenceRange(7_000, 7_003, 2)],
        ),
    ],
)
def test_ranges_of(stamps: Sequence[MessageStamp], ranges: list[SequenceRange]) -> None:
    assert ranges_of(stamps) == ranges
    assert ranges_of(list(reversed(stamps))) == ranges


def test_the_day_of_an_event_comes_from_its_id() -> None:
    stamp = MessageStamp(
        sequence=1,
        consumer_sequence=1,
        delivered=1,
        published_at=datetime(2026, 5, 5, tzinfo=UTC),
        event_id="01890a5d-ac96-774b-bcce-b302099a8057",  # 2023-06-30
    )

    assert stamp.occurred_at.date().isoformat() == "2023-06-30"
