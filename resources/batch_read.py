"""Reads the messages of a batch again, by stream sequence, without touching its consumer."""

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from resources.batch_messages import DeliveredMessage, SequenceRange, StoredMessage, StreamMessage
from resources.jetstream_client import JetStreamClient
from resources.pull_requests import PullRequests

_PAGE_SIZE = 2_000


async def read_ranges(
    client: JetStreamClient, *, stream: str, subject: str, ranges: Sequence[SequenceRange]
) -> AsyncIterator[list[DeliveredMessage]]:
    """Yield the messages of `subject` within `ranges`, in pages of at most 2,000.

    Messages that the stream no longer holds are left out: the caller compares the counts.

    Raises:
        nats.errors.Error: the broker fails; what was yielded before is good.
    """
    for each in ranges:
        async for page in _read_range(client, stream, subject, each):
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
    return StoredMessage(
        subject=raw.subject or "",
        sequence=sequence,
        published_at=raw.time.astimezone(UTC),
        headers=raw.headers or {},
        body=raw.data or b"",
    )


async def _read_range(
    client: JetStreamClient, stream: str, subject: str, wanted: SequenceRange
) -> AsyncIterator[list[DeliveredMessage]]:
    # An ephemeral consumer: the broker forgets it when nobody has read for a while.
    name = f"read_{secrets.token_hex(8)}"
    await client.jetstream().add_consumer(
        stream,
        ConsumerConfig(
            name=name,
            filter_subject=subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=wanted.first,
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=30.0,
        ),
    )
    async with PullRequests(client, stream=stream, consumer=name) as requests:
        remaining = wanted.last - wanted.first + 1
        size = min(_PAGE_SIZE, remaining)
        await requests.send(size)
        while True:
            messages = await requests.receive()
            remaining = wanted.last - messages[-1].sequence if messages else 0
            has_more = len(messages) == size and remaining > 0
            if has_more:
                # Comes in while the caller works on this page.
                size = min(_PAGE_SIZE, remaining)
                await requests.send(size)
            yield [each for each in messages if each.sequence <= wanted.last]
            if not has_more:
                return
