"""What a batch is made of: sequence ranges, message stamps and messages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.msg import Msg

from contracts.event_ids import moment_of
from contracts.headers import NATS_MESSAGE_ID

_MAX_GAP = 1000


@dataclass(frozen=True)
class SequenceRange:
    """Messages of one subject between two stream sequences, both included."""

    first: int
    last: int
    count: int
    """How many messages the consumer was given in this range."""


@dataclass(frozen=True)
class MessageStamp:
    """What a headers-only delivery tells of a message."""

    sequence: int
    """Place in the stream."""
    consumer_sequence: int
    """Place among all deliveries of the consumer."""
    delivered: int
    """1 for the first delivery."""
    published_at: datetime
    event_id: str | None

    @property
    def occurred_at(self) -> datetime:
        """The event's own moment where its ID tells it, else when the broker took it."""
        return (moment_of(self.event_id) if self.event_id else None) or self.published_at


@dataclass(frozen=True)
class StreamMessage:
    """One message as it stands in the stream."""

    subject: str
    sequence: int
    published_at: datetime
    headers: Mapping[str, str]
    body: bytes


def stamp_of(message: Msg) -> MessageStamp:
    """Read the stamp of a delivered message."""
    metadata = message.metadata
    return MessageStamp(
        sequence=metadata.sequence.stream,
        consumer_sequence=metadata.sequence.consumer,
        delivered=metadata.num_delivered,
        published_at=metadata.timestamp.astimezone(UTC),
        event_id=(message.headers or {}).get(NATS_MESSAGE_ID),
    )


def ranges_of(stamps: Iterable[MessageStamp]) -> list[SequenceRange]:
    """Describe `stamps` by as few ranges as may be.

    First deliveries come in the stream's order with nothing left out, so consecutive ones
    make one range whatever lies between them belongs to other subjects. A redelivery says
    nothing about its neighbours; there a range may take in messages that were settled before,
    which idempotent writing makes harmless, but never a far stretch of them.
    """
    ranges: list[SequenceRange] = []
    previous: MessageStamp | None = None
    for stamp in sorted(stamps, key=lambda each: each.sequence):
        if previous is not None and _continues(previous, stamp):
            last = ranges[-1]
            ranges[-1] = SequenceRange(last.first, stamp.sequence, last.count + 1)
        else:
            ranges.append(SequenceRange(stamp.sequence, stamp.sequence, 1))
        previous = stamp
    return ranges


def _continues(previous: MessageStamp, stamp: MessageStamp) -> bool:
    is_next_delivery = (
        previous.delivered == stamp.delivered == 1
        and stamp.consumer_sequence == previous.consumer_sequence + 1
    )
    return is_next_delivery or stamp.sequence - previous.sequence <= _MAX_GAP
