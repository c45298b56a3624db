"""Applies the streams and consumers of `contracts.streams` to a NATS server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError

from contracts.broker_access import BrokerAccess
from contracts.settings import NatsSettings, PipelineSettings
from contracts.streams import (
    ADVISORIES,
    PIPELINE_CONSUMERS,
    TELEMETRY,
    consumer_configs,
    stream_configs,
    telemetry_consumer_config,
    terminated_consumer_config,
)
from sluice.admin_connection import jetstream_of_admin

Outcome = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class Applied:
    """What became of one stream or consumer."""

    kind: Literal["stream", "consumer"]
    name: str
    outcome: Outcome


async def apply_streams(
    admin: str | BrokerAccess, pipeline: PipelineSettings, *, broker: NatsSettings | None = None
) -> list[Applied]:
    """Create what is missing and bring what is there up to date; calling it again changes nothing.

    Raises:
        BrokerAccessError: a file of the settings cannot be used.
        nats.errors.Error, OSError, TimeoutError: the server cannot be reached, has no JetStream
            or refuses.
    """
    broker = broker or NatsSettings()
    async with jetstream_of_admin(admin) as jetstream:
        applied = [
            await _apply_stream(jetstream, config)
            for config in stream_configs(
                broker.replicas,
                pipeline_max_bytes=broker.pipeline_max_bytes,
                telemetry_max_bytes=broker.telemetry_max_bytes,
            )
        ]
        for stream, config in wanted_consumers(pipeline):
            applied.append(await _apply_consumer(jetstream, stream, config))
        return applied


def wanted_consumers(pipeline: PipelineSettings) -> list[tuple[str, ConsumerConfig]]:
    """Return (stream, configuration) of all durable consumers."""
    wanted = [
        pair
        for consumer in PIPELINE_CONSUMERS
        for pair in consumer_configs(
            consumer,
            batch_limit=pipeline.batch_limit,
            ack_wait_seconds=pipeline.ack_wait_seconds,
            max_deliver=pipeline.max_deliver,
        )
    ]
    terminated = terminated_consumer_config(ack_wait_seconds=pipeline.ack_wait_seconds)
    return [*wanted, (ADVISORIES, terminated), (TELEMETRY, telemetry_consumer_config())]


def count_changes(applied: Sequence[Applied]) -> int:
    """Return how many of `applied` were created or updated."""
    return sum(1 for each in applied if each.outcome != "unchanged")


async def _apply_stream(jetstream: JetStreamContext, wanted: StreamConfig) -> Applied:
    name = wanted.name or ""
    try:
        current = (await jetstream.stream_info(name)).config
    except NotFoundError:
        await jetstream.add_stream(wanted)
        return Applied("stream", name, "created")
    if _holds(current, wanted):
        return Applied("stream", name, "unchanged")
    await jetstream.update_stream(wanted)
    return Applied("stream", name, "updated")


async def _apply_consumer(
    jetstream: JetStreamContext, stream: str, wanted: ConsumerConfig
) -> Applied:
    name = f"{stream}/{wanted.durable_name}"
    try:
        current = (await jetstream.consumer_info(stream, wanted.durable_name or "")).config
    except NotFoundError:
        await jetstream.add_consumer(stream, wanted)
        return Applied("consumer", name, "created")
    # Where it began, which a restore decides, cannot be changed and is of the past.
    wanted = wanted.evolve(
        deliver_policy=current.deliver_policy, opt_start_seq=current.opt_start_seq
    )
    if _holds(current, wanted):
        return Applied("consumer", name, "unchanged")
    await jetstream.add_consumer(stream, wanted)
    return Applied("consumer", name, "updated")


def _holds(current: StreamConfig | ConsumerConfig, wanted: StreamConfig | ConsumerConfig) -> bool:
    """Tell whether the server's configuration has all that `wanted` asks for.

    The server fills in defaults of its own, so only what we ask for is compared.
    """
    have, ask = current.as_dict(), wanted.as_dict()
    return all(have.get(key) == value for key, value in ask.items() if value)
