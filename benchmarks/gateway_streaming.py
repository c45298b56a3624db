"""What the gateway adds to a stream: time to the first token, and between chunks.

The upstream paces its chunks evenly, so both figures are differences to the same stream
through the bare floor, measured in turns. The streams start one after the other, so that they
do not queue up behind each other in this one client.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import quantiles

import aiohttp
import msgspec

from benchmarks.figures import Figure, Reference, require
from benchmarks.paced_upstream import CHUNK_COUNT, CHUNK_INTERVAL_SECONDS, MODEL

_REQUEST = {
    "model": MODEL,
    "stream": True,
    "messages": [{"role": "user", "content": "Count the words of this stream."}],
}
_PERCENTILES = 100


@dataclass(frozen=True)
class StreamPlan:
    """How many streams are measured."""

    concurrency: int
    streams_per_round: int
    """By each of the concurrent clients, one after the other."""
    round_count: int


@dataclass
class StreamTimes:
    """Milliseconds as a client sees them."""

    first_token: list[float] = field(default_factory=list)
    """From sending the request to the first chunk of text."""
    gaps: list[float] = field(default_factory=list)
    """Between two chunks of text."""


async def measure_streaming(
    plan: StreamPlan, *, gateway_url: str, floor_url: str, say: Callable[[str], None]
) -> list[Figure]:
    """Stream through the floor and the gateway in turns.

    Raises:
        InvariantBroken: a stream failed or lost a chunk.
    """
    times = {floor_url: StreamTimes(), gateway_url: StreamTimes()}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for number in range(plan.round_count + 1):
            for url, kept in times.items():
                # The first round warms up; its times are thrown away.
                collected = StreamTimes() if number == 0 else kept
                await _run_round(plan, session, url, collected)
    gateway, floor = times[gateway_url], times[floor_url]
    figures = [
        _added("added time to first token, p50", gateway.first_token, floor.first_token, 50),
        _added("added time to first token, p99", gateway.first_token, floor.first_token, 99),
        _added("added time between chunks, p99", gateway.gaps, floor.gaps, 99),
    ]
    for figure in figures:
        say(f"{figure.name}: {figure.value:.2f} ms")
    return figures


async def _run_round(
    plan: StreamPlan, session: aiohttp.ClientSession, url: str, times: StreamTimes
) -> None:
    spacing = CHUNK_COUNT * CHUNK_INTERVAL_SECONDS / plan.concurrency

    async def client(number: int) -> None:
        # A part of the interval besides, for the chunks of different streams to lie apart.
        await asyncio.sleep(number * (spacing + CHUNK_INTERVAL_SECONDS / plan.concurrency))
        for _ in range(plan.streams_per_round):
            await _read_stream(session, url, times)

    async with asyncio.TaskGroup() as clients:
        for number in range(plan.concurrency):
            clients.create_task(client(number))


async def _read_stream(session: aiohttp.ClientSession, url: str, times: StreamTimes) -> None:
    body = msgspec.json.encode(_REQUEST)
    sent_at = time.perf_counter()
    previous = None
    chunk_count = 0
    text = b""
    async with session.post(
        url, data=body, headers={"Content-Type": "application/json"}
    ) as response:
        require(response.status == 200, f"{url} answered {response.status}")
        async for part in response.content.iter_any():
            now = time.perf_counter()
            text += part
            for _ in range(part.count(b'"content":" word')):
                if previous is None:
                    times.first_token.append((now - sent_at) * 1000)
                else:
                    times.gaps.append((now - previous) * 1000)
                previous = now
                chunk_count += 1
    require(
        chunk_count == CHUNK_COUNT and text.endswith(b"data: [DONE]\n\n"),
        f"a stream of {url} came with {chunk_count} of {CHUNK_COUNT} chunks",
    )


def _added(name: str, gateway: list[float], floor: list[float], percentile: int) -> Figure:
    """Return the difference between the two, against the floor's own value."""
    of_floor = _percentile(floor, percentile)
    return Figure(
        f"gateway: {name}",
        _percentile(gateway, percentile) - of_floor,
        "ms",
        Reference("the same through bare Starlette and aiohttp", of_floor),
    )


def _percentile(values: list[float], percentile: int) -> float:
    return quantiles(values, n=_PERCENTILES)[percentile - 1]
