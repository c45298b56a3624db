"""Streams: what a gateway adds to the time to the first token and between chunks.

The upstream paces its chunks evenly, so both are differences to the same stream without a
gateway, measured in the same round.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

import aiohttp
import msgspec
import uvloop

from benchmarks.figures import require
from benchmarks.gateway_metrics import (
    FIRST_TOKEN_P50,
    FIRST_TOKEN_P99,
    GAP_P99,
    STREAM_COUNT,
    STREAM_PROCESSOR,
    Samples,
)
from benchmarks.gateway_turns import GatewayTurn
from benchmarks.paced_upstream import CHUNK_INTERVAL_SECONDS, MODEL
from benchmarks.wrk_load import Request

_PERCENTILES = 100


@dataclass(frozen=True)
class StreamPlan:
    """How many streams are measured in a round."""

    round_count: int
    single_streams: int
    """One after the other, for the time to the first token."""
    chunk_count: int
    """Of each of the streams that run at the same time."""


@dataclass
class StreamTimes:
    """Milliseconds as a client sees them."""

    first_token: list[float] = field(default_factory=list)
    """From sending the request to the first chunk of text."""
    gaps: list[float] = field(default_factory=list)
    """Between two chunks of text."""


def stream_body(chunk_count: int) -> bytes:
    """Return a request for a stream of so many chunks of text."""
    return msgspec.json.encode(
        {
            "model": MODEL,
            "stream": True,
            "max_tokens": chunk_count,
            "messages": [{"role": "user", "content": "Count the words of this stream."}],
        }
    )


def measure_streams(
    plan: StreamPlan,
    turns: Sequence[GatewayTurn],
    samples: Samples,
    *,
    say: Callable[[str], None],
) -> None:
    """Stream through each gateway in turn and add what was seen to `samples`.

    Raises:
        InvariantBroken: a stream failed or lost a chunk.
    """
    for number in range(plan.round_count):
        for turn in turns:
            with turn.active():
                uvloop.run(_measure_turn(plan, turn, samples))
            say(f"round {number + 1}, {turn.server.name}: streams")


async def _measure_turn(plan: StreamPlan, turn: GatewayTurn, samples: Samples) -> None:
    name = turn.server.name
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        single = turn.server.chat(stream_body(1))
        warm_up = StreamTimes()
        for _ in range(max(1, plan.single_streams // 10)):
            await _read_stream(session, single, warm_up, chunk_count=1)
        times = StreamTimes()
        for _ in range(plan.single_streams):
            await _read_stream(session, single, times, chunk_count=1)
        samples.add(name, FIRST_TOKEN_P50, _percentile(times.first_token, 50))
        samples.add(name, FIRST_TOKEN_P99, _percentile(times.first_token, 99))
        before = turn.processor_seconds()
        many = StreamTimes()
        await _read_many(session, turn.server.chat(stream_body(plan.chunk_count)), plan, many)
        samples.add(name, GAP_P99, _percentile(many.gaps, 99))
        if before is not None:
            turn.server.settle()
            seconds = (turn.processor_seconds() or 0.0) - before
            chunks = STREAM_COUNT * plan.chunk_count
            samples.add(name, STREAM_PROCESSOR, seconds * 1000 / chunks)
    turn.other_calls += len(warm_up.first_token) + len(times.first_token) + STREAM_COUNT


async def _read_many(
    session: aiohttp.ClientSession, request: Request, plan: StreamPlan, times: StreamTimes
) -> None:
    async def read_one(number: int) -> None:
        # Spread over an interval, for the chunks of different streams to lie apart.
        await asyncio.sleep(number * CHUNK_INTERVAL_SECONDS / STREAM_COUNT)
        await _read_stream(session, request, times, chunk_count=plan.chunk_count)

    async with asyncio.TaskGroup() as streams:
        for number in range(STREAM_COUNT):
            streams.create_task(read_one(number))


async def _read_stream(
    session: aiohttp.ClientSession, request: Request, times: StreamTimes, *, chunk_count: int
) -> None:
    headers = {"Content-Type": "application/json", **request.headers}
    sent_at = time.perf_counter()
    previous = None
    seen = 0
    last = b""
    async with session.post(request.url, data=request.body, headers=headers) as response:
        require(response.status == 200, f"{request.url} answered {response.status}")
        async for part in response.content.iter_any():
            now = time.perf_counter()
            last = part
            for _ in range(part.count(b'" word')):
                if previous is None:
                    times.first_token.append((now - sent_at) * 1000)
                else:
                    times.gaps.append((now - previous) * 1000)
                previous = now
                seen += 1
    require(
        seen == chunk_count and last.rstrip().endswith(b"[DONE]"),
        f"a stream of {request.url} came with {seen} of {chunk_count} chunks",
    )


def _percentile(values: Sequence[float], percentile: int) -> float:
    return quantiles(values, n=_PERCENTILES)[percentile - 1]
