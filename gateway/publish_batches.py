"""Atomic batches: many events with one commit, one sync to disk and one acknowledgement.

JetStream's ADR-50, from nats-server 2.12 on. A broker that syncs every write takes several times
as many events this way. A batch that holds a message the broker already has is refused whole, so
an event is shipped in a batch the first time only, and alone when it is shipped again.
"""

import secrets
from collections.abc import Iterator, Sequence

from gateway.acknowledged_client import encode_publish
from gateway.outgoing_event import OutgoingEvent

COMMITS_IN_FLIGHT = 2
"""While these are under way the next batch gathers: batches grow with load by themselves."""

_FEWEST_EVENTS = 4
"""A batch costs about four syncs, whatever its size."""
_MOST_BYTES = 4 * 1024 * 1024


def split_into_shipments(
    events: Sequence[OutgoingEvent], *, may_batch: bool
) -> Iterator[list[OutgoingEvent]]:
    """Yield `events` in their order: as batches for one stream each, or one by one."""
    run: list[OutgoingEvent] = []
    size = 0
    for event in events:
        is_batchable = may_batch and event.shipments == 1
        continues = run and is_batchable and event.is_telemetry == run[0].is_telemetry
        if run and not (continues and size + event.size <= _MOST_BYTES):
            yield from _batch_or_singles(run)
            run, size = [], 0
        if is_batchable:
            run.append(event)
            size += event.size
        else:
            yield [event]
    yield from _batch_or_singles(run)


def encode_batch(events: Sequence[OutgoingEvent], reply: bytes) -> list[bytes]:
    """Return the publishes of one atomic batch; its commit is acknowledged to `reply`."""
    batch_id = secrets.token_hex(12)
    last = len(events)
    commands = []
    for number, event in enumerate(events, start=1):
        fields = f"Nats-Batch-Id: {batch_id}\r\nNats-Batch-Sequence: {number}\r\n"
        if number == last:
            fields += "Nats-Batch-Commit: 1\r\n"
        # The block ends with an empty line; the batch's fields go before it.
        headers = event.headers[:-2] + fields.encode("ascii") + b"\r\n"
        commands.append(
            encode_publish(event.subject, reply if number == last else b"", headers, event.body)
        )
    return commands


def _batch_or_singles(events: list[OutgoingEvent]) -> Iterator[list[OutgoingEvent]]:
    if len(events) >= _FEWEST_EVENTS:
        yield events
    else:
        yield from ([event] for event in events)
