"""Events per second that one Dagster run drains, against the bare work.

The events are published once. Before each round the consumers are made anew and the table is
emptied, so that every round finds the same events waiting.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nats
import psycopg
from dagster import DagsterInstance, RunRequest

from assets.event_records.kinds import CHAT_HISTORY
from benchmarks.batch_cost import Cost, measure_batch_cost, measure_floor_cost
from benchmarks.chat_events import chat_events
from benchmarks.drain_floor import DrainFloor, measure_drain_floor
from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure, InvariantBroken, Reference, require
from benchmarks.platform_servers import PlatformServers, running_platform_servers
from benchmarks.run_process import RunTimes, execute_run
from contracts.events import encode_event
from contracts.settings import PipelineSettings
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS
from contracts.subjects import PipelineSubject
from resources.event_loop import run_async
from sluice.databases import ensure_database
from sluice.servers.dagster import DagsterServers
from sluice.streams import apply_streams
from tests.support.dagster_runs import Orchestrator, definitions
from tests.support.events import publish_events
from tests.support.ports import free_port

_SUBJECT = PipelineSubject.CHAT_PERSIST
_SENSOR = "nats_dagster_chat_persist"
_DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True)
class DrainRound:
    """One round: the sensor's tick, the run it requested, the floor of the same work."""

    tick_seconds: float
    pulled_count: int
    """Messages over all consumers of the sensor."""
    run: RunTimes
    floor: DrainFloor
    cost: Cost
    floor_cost: Cost


def run_drain_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Publish events, let the sensor pull them and one run persist them.

    Raises:
        InvariantBroken: the run failed, or PostgreSQL does not hold each event once.
    """
    event_count, round_count = (300, 1) if is_quick else (50_000, 3)
    with ExitStack() as stack:
        stack.enter_context(only_these_settings(folder, {}))
        servers = stack.enter_context(running_platform_servers(folder))
        variables = {
            **servers.settings_for("dagster", folder),
            "SLUICE_DAGSTER_POSTGRES_URL": servers.postgres.url(_DAGSTER_DATABASE),
            "DAGSTER_HOME": str(folder / "dagster"),
        }
        stack.enter_context(only_these_settings(folder, variables))
        instance = stack.enter_context(_prepared_instance(folder, servers, variables))
        definitions()
        event_bytes = _publish(servers, event_count, say)
        rounds = []
        for number in range(round_count):
            _make_events_wait_again(servers)
            drained = _drain(instance, servers, folder, event_count, name=f"round-{number}")
            rounds.append(drained)
            say(
                f"tick {drained.tick_seconds:.1f} s, run {drained.run.process_seconds:.1f} s,"
                f" its batch {drained.run.batch_seconds:.1f} s,"
                f" floor {drained.floor.copy_seconds:.1f} s;"
                f" {drained.cost.per_core:,.0f} events/s and core, floor"
                f" {drained.floor_cost.per_core:,.0f}"
            )
    return _figures(rounds, event_count, event_bytes)


def _prepared_instance(
    folder: Path, servers: PlatformServers, variables: dict[str, str]
) -> DagsterInstance:
    ensure_database(servers.postgres.url("postgres"), _DAGSTER_DATABASE)
    DagsterServers(
        home=folder / "dagster",
        port=free_port(),
        storage_url=variables["SLUICE_DAGSTER_POSTGRES_URL"],
        code_port=free_port(),
        environment=dict(variables),
    ).prepare()
    return DagsterInstance.from_config(variables["DAGSTER_HOME"])


def _publish(servers: PlatformServers, count: int, say: Callable[[str], None]) -> float:
    """Publish `count` events; return the size of one, in bytes of JSON."""
    started = time.perf_counter()
    run_async(publish_events(servers.nats.url("admin"), _SUBJECT, chat_events(count)))
    seconds = time.perf_counter() - started
    event_bytes = len(encode_event(next(chat_events(1))))
    say(f"published {count:,} events of {event_bytes:,} bytes, {count / seconds:,.0f} events/s")
    return event_bytes


def _make_events_wait_again(servers: PlatformServers) -> None:
    asyncio.run(_make_consumers_anew(servers))
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE chat_history")
        connection.execute("CHECKPOINT")


async def _make_consumers_anew(servers: PlatformServers) -> None:
    client = await nats.connect(servers.nats.url("admin"))
    try:
        for consumer in PIPELINE_CONSUMERS:
            await client.jetstream().delete_consumer(PIPELINE, consumer.durable_name)
    finally:
        await client.close()
    await apply_streams(servers.nats.url("admin"), PipelineSettings())


def _drain(
    instance: DagsterInstance, servers: PlatformServers, folder: Path, count: int, *, name: str
) -> DrainRound:
    sensor = Orchestrator(
        database_url=servers.database_url,
        nats_url=servers.nats.url("dagster"),
        instance=instance,
    )
    started = time.perf_counter()
    requests = sensor.tick(_SENSOR)
    tick_seconds = time.perf_counter() - started
    if isinstance(requests, str):
        raise InvariantBroken(f"the sensor requested no run: {requests}")
    run = execute_run(instance, _run_of_all(requests, count), folder, name=name)
    _require_drained(servers, count)
    floor = run_async(measure_drain_floor(servers.nats.url("admin"), servers.database_url, count))
    _make_events_wait_again(servers)
    cost = measure_batch_cost(servers, count)
    floor_cost = measure_floor_cost(servers, count)
    pulled = sum(int(request.tags["sluice/events"]) for request in requests)
    return DrainRound(tick_seconds, pulled, run, floor, cost, floor_cost)


def _run_of_all(requests: list[RunRequest], count: int) -> RunRequest:
    """Return the one run that persists all events as `chat_history`."""
    chosen = [each for each in requests if each.job_name == CHAT_HISTORY.job_name]
    require(len(chosen) == 1, f"the sensor requested {len(chosen)} runs of one consumer")
    events = int(chosen[0].tags["sluice/events"])
    require(events == count, f"the sensor pulled {events} of {count} waiting events in one tick")
    return chosen[0]


def _require_drained(servers: PlatformServers, count: int) -> None:
    with psycopg.connect(servers.database_url) as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT event_id) FROM chat_history"
        ).fetchone()
    require(rows == (count, count), f"{count} events were published, PostgreSQL holds {rows}")
    unsettled = asyncio.run(_count_unsettled(servers))
    require(unsettled == 0, f"{unsettled} events of a finished run are not acknowledged")


async def _count_unsettled(servers: PlatformServers) -> int:
    client = await nats.connect(servers.nats.url("admin"))
    try:
        info = await client.jetstream().consumer_info(PIPELINE, CHAT_HISTORY.job_name)
        return (info.num_ack_pending or 0) + (info.num_pending or 0)
    finally:
        await client.close()


def _figures(rounds: list[DrainRound], count: int, event_bytes: float) -> list[Figure]:
    def rate(seconds: Callable[[DrainRound], float]) -> float:
        return count / median(map(seconds, rounds))

    floor = Reference(
        "pull, decode and COPY in a bare loop", rate(lambda each: each.floor.copy_seconds)
    )
    return [
        Figure(
            f"drain: one run's batch of {count:,} (read, COPY, commit, acknowledge)",
            rate(lambda each: each.run.batch_seconds),
            "events/s",
            floor,
        ),
        Figure(
            f"drain: one run of {count:,}, from its process's start to its end",
            rate(lambda each: each.run.process_seconds),
            "events/s",
            floor,
        ),
        Figure(
            "drain: persist and acknowledge, events a second and core, PostgreSQL and broker"
            " counted",
            median(each.cost.per_core for each in rounds),
            "events/s",
            Reference(
                "the bare loop's, likewise", median(each.floor_cost.per_core for each in rounds)
            ),
        ),
        Figure(
            "drain: persist and acknowledge, events a second",
            median(1e6 / each.cost.wall for each in rounds),
            "events/s",
            Reference("the bare loop's", median(1e6 / each.floor_cost.wall for each in rounds)),
        ),
        Figure(
            "drain: processor time of an event in the run's process",
            median(each.cost.own for each in rounds),
            "µs",
            Reference("in PostgreSQL and the broker", median(each.cost.servers for each in rounds)),
        ),
        Figure(
            "drain: one tick of the sensor, two consumers",
            median(each.pulled_count / each.tick_seconds for each in rounds),
            "messages/s",
            Reference(
                "pull of the headers in a bare loop", rate(lambda each: each.floor.headers_seconds)
            ),
        ),
        Figure(
            "drain: rows after the run",
            count,
            "rows",
            Reference(f"events published, {event_bytes:,.0f} bytes each", count),
        ),
    ]
