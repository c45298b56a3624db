"""What the broker says of the platform's streams and consumers."""

import asyncio

import nats
from nats.js.api import ConsumerInfo, StreamInfo

from contracts.streams import ADVISORIES, PIPELINE, PIPELINE_CONSUMERS, TELEMETRY


def consumer_states(nats_url: str) -> dict[str, ConsumerInfo]:
    """Return durable name → state of every pipeline consumer."""
    return asyncio.run(_consumer_states(nats_url))


def stream_states(nats_url: str) -> dict[str, StreamInfo]:
    """Return stream name → state."""
    return asyncio.run(_stream_states(nats_url))


def unsettled(nats_url: str) -> dict[str, tuple[int, int]]:
    """Return durable name → (pending, unacknowledged) of the consumers with either."""
    counts = {
        name: (info.num_pending or 0, info.num_ack_pending or 0)
        for name, info in consumer_states(nats_url).items()
    }
    return {name: each for name, each in counts.items() if any(each)}


async def _consumer_states(nats_url: str) -> dict[str, ConsumerInfo]:
    client = await nats.connect(nats_url, connect_timeout=5)
    try:
        jetstream = client.jetstream()
        return {
            each.durable_name: await jetstream.consumer_info(PIPELINE, each.durable_name)
            for each in PIPELINE_CONSUMERS
        }
    finally:
        await client.close()


async def _stream_states(nats_url: str) -> dict[str, StreamInfo]:
    client = await nats.connect(nats_url, connect_timeout=5)
    try:
        jetstream = client.jetstream()
        return {
            name: await jetstream.stream_info(name) for name in (PIPELINE, TELEMETRY, ADVISORIES)
        }
    finally:
        await client.close()
