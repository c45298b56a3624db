"""Samples of a running platform: how far the consumers are behind, memory, processor time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import nats
import psutil
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from benchmarks.process_cpu import PARTS, cpu_seconds, resident_mib, spent
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS
from tests.support.stack import PlatformStack

WITH_ENCODER = (*PARTS, "encoder")
_BENCHMARK = "load and model server"


class Sample(msgspec.Struct):
    """One moment."""

    seconds: float
    """Since the sampling began."""
    waiting: dict[str, int]
    """Consumer → events that it has not acknowledged."""
    resident_mib: dict[str, float]
    cores: dict[str, float]
    """Part → cores that it kept busy since the sample before."""


async def sample(
    stack: PlatformStack,
    samples: list[Sample],
    *,
    every_seconds: float,
    until: Callable[[Sample], bool],
    parts: Sequence[str] = PARTS,
) -> None:
    """Add samples of `parts` to `samples` until one of them ends it."""
    client = await nats.connect(stack.endpoints["nats"])
    started = previous_at = time.monotonic()
    previous = _cpu(stack, parts)
    try:
        while True:
            await asyncio.sleep(every_seconds)
            now, cpu = time.monotonic(), await asyncio.to_thread(_cpu, stack, parts)
            samples.append(
                Sample(
                    now - started,
                    await _waiting(client.jetstream()),
                    resident_mib(stack, parts),
                    {
                        name: seconds / (now - previous_at)
                        for name, seconds in spent(previous, cpu).items()
                    },
                )
            )
            previous, previous_at = cpu, now
            if until(samples[-1]):
                return
    finally:
        await client.close()


def write_samples(file: Path, samples: list[Sample]) -> None:
    """Write the samples as a JSON list."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(samples), indent=1) + b"\n")


async def count_settled(nats_url: str) -> int:
    """Return how many deliveries the consumers have acknowledged, all together."""
    client = await nats.connect(nats_url)
    try:
        infos = await _consumers(client.jetstream())
    finally:
        await client.close()
    return sum(info.ack_floor.consumer_seq for info in infos if info.ack_floor)


async def _waiting(jetstream: JetStreamContext) -> dict[str, int]:
    return {
        info.name: (info.num_pending or 0) + (info.num_ack_pending or 0)
        for info in await _consumers(jetstream)
    }


async def _consumers(jetstream: JetStreamContext) -> list[ConsumerInfo]:
    names = [each.durable_name for each in PIPELINE_CONSUMERS]
    return list(await asyncio.gather(*(jetstream.consumer_info(PIPELINE, each) for each in names)))


def _cpu(stack: PlatformStack, parts: Sequence[str]) -> dict[str, float]:
    own = psutil.Process().cpu_times()
    return {**cpu_seconds(stack, parts), _BENCHMARK: own.user + own.system}
