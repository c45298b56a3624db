"""The whole platform under chat requests at a fixed rate, for minutes.

Everything is on this machine: the load, a model server that answers at once, the gateway with
retrieval and encoder, the broker, PostgreSQL, Dagster. The lake is off: its schedule is hourly.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, quantiles

import psycopg

from benchmarks.chat_traffic import Traffic, send_chats, watch_rows
from benchmarks.figures import Figure, Reference, require
from benchmarks.pipeline_samples import WATCHED, Sample, sample, write_samples
from tests.e2e.documents import write_documents
from tests.support.scripted_model_server import backend_table, scripted_model_server
from tests.support.stack import PlatformStack, running_platform

_SETTINGS = {"SLUICE_LAKE_ENABLED": "false"}
_SAMPLE_SECONDS = 5.0
_SETTLE_SECONDS = 600.0
_GOAL_P50_SECONDS = 10.0
_GOAL_P95_SECONDS = 20.0
_TABLES = ("chat_history", "chat_pairs", "flow_lineage", "retrieve_events", "compose_events")


@dataclass(frozen=True)
class SustainedOptions:
    """How much for how long."""

    per_second: float = 100.0
    minutes: float = 15.0
    samples_file: Path | None = None


@dataclass(frozen=True)
class _Outcome:
    traffic: Traffic
    samples: list[Sample]
    """While requests came."""
    settled_seconds: float
    """From the last request until nothing waited."""


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
    with scripted_model_server() as server:
        configuration = backend_table(server)
        with running_platform(
            folder / "platform", settings=_SETTINGS, configuration=configuration
        ) as stack:
            ingested = stack.sluice("ingest", str(write_documents(folder / "handbook")))
            require(ingested.returncode == 0, f"ingest failed: {ingested.stderr[-2000:]}")
            say(f"{per_second:g} requests a second for {seconds:.0f} s")
            outcome = asyncio.run(_run(stack, per_second, seconds, say))
            _require_once(stack, outcome.traffic)
    if options.samples_file is not None:
        write_samples(options.samples_file, outcome.samples)
    return _figures(outcome, per_second, seconds)


async def _run(
    stack: PlatformStack, per_second: float, seconds: float, say: Callable[[str], None]
) -> _Outcome:
    traffic = Traffic()
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
        sample(stack, samples, every_seconds=_SAMPLE_SECONDS, until=is_end)
    )
    watching = asyncio.create_task(watch_rows(stack.endpoints["postgres"], traffic, until=is_over))
    await send_chats(
        stack.endpoints["gateway"], traffic, name="load", per_second=per_second, seconds=seconds
    )
    is_over.set()
    await asyncio.wait_for(sampling, _SETTLE_SECONDS)
    await asyncio.wait_for(watching, _SETTLE_SECONDS)
    under_load = [each for each in samples if each.seconds <= seconds]
    return _Outcome(traffic, under_load, samples[-1].seconds - seconds)


def _require_once(stack: PlatformStack, traffic: Traffic) -> None:
    """Require each answered call once in each table that every call has a row in."""
    require(traffic.failed == 0, f"{traffic.failed} of the requests failed")
    with psycopg.connect(stack.endpoints["postgres"]) as connection:
        for table in _TABLES:
            rows = connection.execute(
                f"SELECT count(*), count(DISTINCT correlation_id) FROM {table}"
                " WHERE correlation_id LIKE 'load-%'"
            ).fetchone()
            require(
                rows == (traffic.answered, traffic.answered),
                f"{traffic.answered} calls were answered, {table} holds {rows}",
            )
        letters = connection.execute("SELECT count(*) FROM dead_letters").fetchone()
    require(letters == (0,), f"{letters} dead letters")


def _figures(outcome: _Outcome, per_second: float, seconds: float) -> list[Figure]:
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
            for part in WATCHED
        ),
        *(
            Figure(f"{name}: processor, {part}", value, "cores", whole, setup)
            for part, value in cores.items()
        ),
    ]
