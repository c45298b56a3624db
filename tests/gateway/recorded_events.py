"""Events read back from the broker's streams."""

import asyncio
from dataclasses import dataclass
from typing import Any

import nats
from nats.js.errors import NotFoundError

from contracts.events import Event, decode_event
from contracts.streams import PIPELINE, TELEMETRY
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject


@dataclass
class RecordedEvent:
    subject: Subject
    event: Event[Any]
    headers: dict[str, str]


async def read_events(nats_url: str) -> list[RecordedEvent]:
    """Return every message of both streams, in each stream's order."""
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()
    recorded = []
    try:
        for stream in (PIPELINE, TELEMETRY):
            state = (await jetstream.stream_info(stream)).state
            for sequence in range(max(1, state.first_seq), state.last_seq + 1):
                try:
                    message = await jetstream.get_msg(stream, sequence, direct=True)
                except NotFoundError:
                    continue
                kind = PipelineSubject if stream == PIPELINE else TelemetrySubject
                subject: Subject = kind(message.subject or "")
                recorded.append(
                    RecordedEvent(
                        subject,
                        decode_event(subject, message.data or b""),
                        dict(message.headers or {}),
                    )
                )
    finally:
        await connection.close()
    return recorded


async def wait_for_events(
    nats_url: str, correlation_id: str, *, timeout_seconds: float = 10
) -> dict[Subject, list[RecordedEvent]]:
    """Return the events of one request by subject, once its last one has arrived."""
    async with asyncio.timeout(timeout_seconds):
        while True:
            events: dict[Subject, list[RecordedEvent]] = {}
            for recorded in await read_events(nats_url):
                if recorded.event.correlation_id == correlation_id:
                    events.setdefault(recorded.subject, []).append(recorded)
            # The last of each stream.
            if PipelineSubject.FLOW_LINEAGE in events and TelemetrySubject.CHAT in events:
                return events
            await asyncio.sleep(0.05)
