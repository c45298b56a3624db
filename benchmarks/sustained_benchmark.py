"""The whole platform under chat requests at a fixed rate, for minutes.

Everything is on this machine: the load, a model server that answers at once, the gateway with
retrieval and encoder, the broker, PostgreSQL, Dagster. The lake is off: its schedule is hourly.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, quantiles

import psycopg

from benchmarks.chat_traffic import Traffic, send_chats, watch_rows
from benchmarks.figures import Figure, Reference, require
from benchmarks.pipeline_samples import (
    WITH_ENCODER,
    Sample,
    count_settled,
    sample,
    write_samples,
)
from tests.e2e.documents import write_documents
from tests.support.scripted_model_server import backend_table, scripted_model_server
from tests.support.stack import PlatformStack, running_platform

_SETTINGS = {"SLUICE_LAKE_ENABLED": "false"}
_SAMPLE_SECONDS = 5.0
_SETTLE_SECONDS = 600.0
_GOAL_P50_SECONDS = 10.0
_GOAL_P95_SECONDS = 20.0
_TABLES = ("chat_history", "chat_pairs", "flow_lineage")


@dataclass(frozen=True)
class SustainedOptions:
    """How much for how long."""

    per_second: float = 100.0
    minutes: float = 15.0
    samples_file: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What a load left behind."""

    traffic: Traffic
    samples: list[Sample]
    """While requests came."""
    settled_seconds: float
    """From the last request until nothing waited."""
    deliveries: int
    """Settled over all consumers."""


def run_sustained_benchmark(
    folder: Path,
    *,
    is_quick: bool,
    say: Callable[[str], None],
    options: SustainedOptions,
) -> list[Figure]:
    """Send requests for `options.minutes` and watch what they leave behind.

    Raises:
        InvariantBroken: a request failed, or an answered one is not there exactly once.
    """
    seconds = 20.0 if is_quick else options.minutes * 60
    per_second = min(options.per_second, 10.0) if is_quick else options.per_second
    with platform_with_documents(folder) as stack:
        say(f"{per_second:g} requests a second for {seconds:.0f} s")
        outcome = asyncio.run(put_under_load(stack, per_second, seconds, say))
        require_once(stack, outcome.traffic.answered, outcome.traffic.failed)
    if options.samples_file is not None:
        write_samples(options.samples_file, outcome.samples)
    return _figures(outcome, per_second, seconds)


@contextmanager
def platform_with_documents(folder: Path) -> Iterator[PlatformStack]:
    """Run the platform in `folder`, with a model server and some documents to find."""
    with (
        scripted_model_server() as server,
        running_platform(
            folder / "platform", settings=_SETTINGS, configuration=backend_table(server)
        ) as stack,
    ):
        ingested = stack.sluice("ingest", str(write_documents(folder / "handbook")))
        require(ingested.returncode == 0, f"ingest failed: {ingested.stderr[-2000:]}")
        yield stack


async def put_under_load(
    stack: PlatformStack,
    per_second: float,
    seconds: float,
    say: Callable[[str], None],
    *,
    name: str = "load",
) -> Outcome:
    """Send requests and wait until all that came of them is settled.

    Args:
        name: begins the requests' correlation IDs.
    """
    traffic = Traffic()
    settled_before = await count_settled(stack.endpoints["nats"])
    is_over = asyncio.Event()
    samples: list[Sample] = []

    def is_end(latest: Sample) -> bool:
        if int(latest.seconds) % 60 < _SAMPLE_SECONDS:
            say(
                f"{latest.seconds:4.0f} s: {traffic.answered:,} answered, {traffic.failed} failed,"
                f" {sum(latest.waiting.values()):,} events unsettled, median delay"
                f" {median(traffic.delays[-120:] or [0]):.1f} s"
            )
        is_settled = is_over.is_set() and not any(latest.waiting.values())
        return is_settled or latest.seconds > seconds + _SETTLE_SECONDS

    sampling = asyncio.create_task(
        sample(stack, samples, every_seconds=_SAMPLE_SECONDS, until=is_end, parts=WITH_ENCODER)
    )
    watching = asyncio.create_task(watch_rows(stack.endpoints["postgres"], traffic, until=is_over))
    await send_chats(
        stack.endpoints["gateway"], traffic, name=name, per_second=per_second, seconds=seconds
    )
    is_over.set()
    await asyncio.wait_for(sampling, _SETTLE_SECONDS)
    await asyncio.wait_for(watching, _SETTLE_SECONDS)
    under_load = [each for each in samples if each.seconds <= seconds]
    return Outcome(
        traffic,
        under_load,
        samples[-1].seconds - seconds,
        await count_settled(stack.endpoints["nats"]) - settled_before,
    )


def require_once(stack: PlatformStack, answered: int, failed: int) -> None:
    """Require each answered call once in each table that every call has a row in."""
    require(failed == 0, f"{failed} of the requests failed")
    with psycopg.connect(stack.endpoints["postgres"]) as connection:
        for table in _TABLES:
            rows = connection.execute(
                f"SELECT count(*), count(DISTINCT correlation_id) FROM {table}"
                " WHERE correlation_id LIKE 'load%'"
            ).fetchone()
            require(
                rows == (answered, answered),
                f"{answered} calls were answered, {table} holds {rows}",
            )
        letters = connection.execute("SELECT count(*) FROM dead_letters").fetchone()
    require(letters == (0,), f"{letters} dead letters")


def _figures(outcome: Outcome, per_second: float, seconds: float) -> list[Figure]:
    traffic, samples = outcome.traffic, outcome.samples
    setup = f"{per_second:g} chat requests/s for {seconds:.0f} s, broker syncs always"
    name = f"sustained {per_second:g}/s"
    percentiles = quantiles(traffic.delays, n=100) if len(traffic.delays) > 1 else [0.0] * 99
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]

    def waiting(chosen: list[Sample], consumer: str) -> float:
        return mean(each.waiting[consumer] for each in chosen)

    def memory(chosen: list[Sample], part: str) -> float:
        return mean(each.resident_mib[part] for each in chosen)

    cores = {part: mean(each.cores[part] for each in samples) for part in samples[0].cores}
    whole = Reference("cores of all parts", sum(cores.values()))
    return [
        Figure(
            f"{name}: answered",
            traffic.answered / seconds,
            "requests/s",
            Reference("sent a second", per_second),
            setup,
        ),
        Figure(
            f"{name}: answer to visible row, p50",
            percentiles[49],
            "s",
            Reference("goal", _GOAL_P50_SECONDS),
            setup,
        ),
        Figure(
            f"{name}: answer to visible row, p95",
            percentiles[94],
            "s",
            Reference("goal", _GOAL_P95_SECONDS),
            setup,
        ),
        Figure(
            f"{name}: from the last request until nothing waits",
            outcome.settled_seconds,
            "s",
            Reference("the load's seconds", seconds),
            setup,
        ),
        *(
            Figure(
                f"{name}: events unsettled in the last third, {consumer}",
                waiting(last, consumer),
                "events",
                Reference("in the first third", waiting(first, consumer)),
                setup,
            )
            for consumer in samples[0].waiting
        ),
        *(
            Figure(
                f"{name}: resident in the last third, {part}",
                memory(last, part),
                "MiB",
                Reference("in the first third", memory(first, part)),
                setup,
            )
            for part in WITH_ENCODER
        ),
        *(
            Figure(f"{name}: processor, {part}", value, "cores", whole, setup)
            for part, value in cores.items()
        ),
    ]
