"""What a batch is made of: sequence ranges, message stamps and messages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from contracts.event_ids import moment_of
from contracts.headers import NATS_MESSAGE_ID

_MAX_GAP = 1000
_SHORT_REPLY_TOKENS = 9


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


class StreamMessage(Protocol):
    """One message as it stands in the stream."""

    @property
    def subject(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def published_at(self) -> datetime: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True)
class StoredMessage:
    """A message whose every part is known, such as one from a table."""

    subject: str
    sequence: int
    published_at: datetime
    headers: Mapping[str, str]
    body: bytes


class DeliveredMessage:
    """A message as a consumer delivered it. Most are asked for their body and sequence alone.

    The reply subject tells of the delivery: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream
    seq>.<consumer seq>.<time>.<pending>`, with the domain and the account's hash before the
    stream on newer servers (ADR-15).
    """

    __slots__ = ("_delivery", "_header_block", "_subject", "body", "sequence")

    def __init__(
        self, subject: bytes, reply: bytes, body: bytes, header_block: bytes | None
    ) -> None:
        tokens = reply.split(b".")
        self._delivery = tokens if len(tokens) == _SHORT_REPLY_TOKENS else tokens[2:]
        self._header_block = header_block
        self._subject = subject
        self.body = body
        self.sequence = int(self._delivery[5])

    @property
    def subject(self) -> str:
        return self._subject.decode()

    @property
    def delivered(self) -> int:
        """1 for the first delivery."""
        return int(self._delivery[4])

    @property
    def consumer_sequence(self) -> int:
        """Place among all deliveries of the consumer."""
        return int(self._delivery[6])

    @property
    def published_at(self) -> datetime:
        return datetime.fromtimestamp(int(self._delivery[7]) / 1e9, UTC)

    @property
    def headers(self) -> Mapping[str, str]:
        if self._header_block is None:
            return {}
        fields = (line.partition(b":") for line in self._header_block.split(b"\r\n")[1:])
        return {
            name.strip().decode("ascii", "replace"): value.strip().decode("utf-8", "replace")
            for name, colon, value in fields
            if colon
        }


def stamp_of(message: DeliveredMessage) -> MessageStamp:
    """Read the stamp of a delivered message."""
    return MessageStamp(
        sequence=message.sequence,
        consumer_sequence=message.consumer_sequence,
        delivered=message.delivered,
        published_at=message.published_at,
        event_id=message.headers.get(NATS_MESSAGE_ID),
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
