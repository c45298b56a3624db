"""Reads the messages of a batch again, by stream sequence, without touching its consumer."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from resources.batch_messages import SequenceRange, StreamMessage

_FETCH_SIZE = 2_000
_FETCH_SECONDS = 2.0


async def read_ranges(
    jetstream: JetStreamContext, *, stream: str, subject: str, ranges: Sequence[SequenceRange]
) -> AsyncIterator[list[StreamMessage]]:
    """Yield the messages of `subject` within `ranges`, in pages of at most 2,000.

    Messages that the stream no longer holds are left out: the caller compares the counts.
    """
    for each in ranges:
        async for page in _read_range(jetstream, stream, subject, each):
            yield page


async def read_message(
    jetstream: JetStreamContext, *, stream: str, sequence: int
) -> StreamMessage | None:
    """Return one message by its sequence, or None where the stream no longer holds it."""
    try:
        raw = await jetstream.get_msg(stream, sequence)
    except NotFoundError:
        return None
    if raw.time is None:
        raise ValueError(f"the broker gave message {sequence} of {stream} no time")
    return StreamMessage(
        subject=raw.subject or "",
        sequence=sequence,
        published_at=raw.time.astimezone(UTC),
        headers=raw.headers or {},
        body=raw.data or b"",
    )


async def _read_range(
    jetstream: JetStreamContext, stream: str, subject: str, wanted: SequenceRange
) -> AsyncIterator[list[StreamMessage]]:
    # An ephemeral consumer: the broker forgets it when nobody has read for a while.
    subscription = await jetstream.pull_subscribe(
        subject,
        stream=stream,
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=wanted.first,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=30.0,
        ),
    )
    try:
        is_at_end = False
        remaining = wanted.last - wanted.first + 1
        while not is_at_end and remaining > 0:
            try:
                messages = await subscription.fetch(
                    min(_FETCH_SIZE, remaining), timeout=_FETCH_SECONDS
                )
            except TimeoutError:
                return
            page = [_as_stream_message(message) for message in messages]
            newest = messages[-1].metadata
            is_at_end = newest.num_pending == 0 or newest.sequence.stream >= wanted.last
            remaining = wanted.last - newest.sequence.stream
            yield [message for message in page if message.sequence <= wanted.last]
    finally:
        await subscription.unsubscribe()


def _as_stream_message(message: Msg) -> StreamMessage:
    metadata = message.metadata
    return StreamMessage(
        subject=message.subject,
        sequence=metadata.sequence.stream,
        published_at=metadata.timestamp.astimezone(UTC),
        headers=message.headers or {},
        body=message.data,
    )
