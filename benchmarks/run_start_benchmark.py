"""What a Dagster run costs apart from its batch: processor time, storage round trips, events.

Runs of a handful of events go one after the other through the whole platform, as a person would
launch them: webserver, queue, daemon, code server, run worker. What the platform uses while it is
idle is measured before and taken off.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from assets.batch_config import batch_run_config
from assets.event_records.kinds import TOOL_CALL
from benchmarks.figures import Figure, InvariantBroken, Reference
from benchmarks.process_cpu import PARTS, cpu_seconds, spent
from contracts.settings import database_beside
from resources.batch_messages import SequenceRange
from resources.event_loop import run_async
from sluice.dagster_api import FINISHED, ask, launch
from tests.support.events import publish_events
from tests.support.stack import PlatformStack, running_platform

_EVENTS = 20
_RUN_SECONDS = 120
_QUIET = {
    "SLUICE_ENCODER_ENABLED": "false",
    "SLUICE_LAKE_ENABLED": "false",
    # The sensors find nothing: the runs are launched here.
    "SLUICE_PIPELINE_BATCH_LIMIT": "1",
}
_STATUS = "query Status($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


@dataclass(frozen=True)
class _StorageUse:
    """What Dagster's database has seen so far."""

    connections: int
    transactions: int

    @classmethod
    def read(cls, url: str) -> "_StorageUse":
        with psycopg.connect(url) as connection:
            row = connection.execute(
                "SELECT sessions, xact_commit FROM pg_stat_database"
                " WHERE datname = current_database()"
            ).fetchone()
        assert row is not None
        return cls(*row)


@dataclass(frozen=True)
class _Window:
    """What was used in a stretch of time."""

    seconds: float
    cpu: dict[str, float]
    connections: int
    transactions: int


def run_run_start_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Launch runs one after the other and read what each of them has cost.

    Raises:
        InvariantBroken: a run failed.
    """
    run_count, idle_seconds = (3, 15.0) if is_quick else (20, 60.0)
    with running_platform(folder / "platform", settings=_QUIET) as stack:
        storage = database_beside(stack.endpoints["postgres"], "dagster")
        run_async(_publish_tool_calls(stack))
        _run_once(stack)
        say("the first run is done")
        idle = _watch(stack, storage, lambda: time.sleep(idle_seconds))
        ids: list[str] = []
        busy = _watch(
            stack, storage, lambda: ids.extend(_run_once(stack) for _ in range(run_count))
        )
        phases = [_phases(storage, run_id) for run_id in ids]
        events = [_count_events(storage, run_id) for run_id in ids]
    say(f"{run_count} runs in {busy.seconds:.0f} s")
    return _figures(idle, busy, run_count, phases, events)


async def _publish_tool_calls(stack: PlatformStack) -> None:
    from contracts.events import new_event
    from contracts.payloads import ToolCall

    calls = (
        new_event(
            ToolCall(
                tool_call_id=f"call-{number}",
                function_name="measure_level",
                arguments="{}",
                position=0,
                model="bench",
                backend="bench",
            ),
            correlation_id=f"run-start-{number}",
        )
        for number in range(_EVENTS)
    )
    await publish_events(stack.endpoints["nats"], TOOL_CALL.subject, calls)


def _run_once(stack: PlatformStack) -> str:
    """Launch a run over all events and wait for its end; return its ID."""
    dagster = stack.endpoints["dagster"]
    config = batch_run_config([TOOL_CALL.asset_name], [SequenceRange(1, _EVENTS, 0)])
    run_id = launch(dagster, TOOL_CALL.job_name, config)
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        status = ask(dagster, _STATUS, {"run": run_id})["runOrError"]["status"]
        if status == "SUCCESS":
            return run_id
        if status in FINISHED:
            raise InvariantBroken(f"run {run_id} ended with {status}")
        time.sleep(0.25)
    raise InvariantBroken(f"run {run_id} has not ended after {_RUN_SECONDS} s")


def _watch(stack: PlatformStack, storage: str, work: Callable[[], None]) -> _Window:
    started, cpu, use = time.monotonic(), cpu_seconds(stack), _StorageUse.read(storage)
    work()
    seconds, after = time.monotonic() - started, _StorageUse.read(storage)
    return _Window(
        seconds,
        spent(cpu, cpu_seconds(stack)),
        after.connections - use.connections,
        after.transactions - use.transactions,
    )


def _phases(storage: str, run_id: str) -> dict[str, float]:
    """Return phase → seconds of one run, from Dagster's own event log."""
    with psycopg.connect(storage) as connection:
        rows = connection.execute(
            "SELECT coalesce(dagster_event_type, 'LOG'), event::json #>> '{dagster_event,message}',"
            " extract(epoch FROM timestamp)::float8 FROM event_logs WHERE run_id = %s ORDER BY id",
            [run_id],
        ).fetchall()
    moments: dict[str, float] = {}
    for kind, message, moment in rows:
        moments.setdefault(kind, moment)
        if message and message.startswith("Started process"):
            moments["process"] = moment
    return {
        "queued": moments["PIPELINE_STARTING"] - moments["PIPELINE_ENQUEUED"],
        "process start": moments["process"] - moments["PIPELINE_STARTING"],
        "code loaded": moments["PIPELINE_START"] - moments["process"],
        "step": moments["ASSET_MATERIALIZATION"] - moments["PIPELINE_START"],
        "end": moments["PIPELINE_SUCCESS"] - moments["ASSET_MATERIALIZATION"],
    }


def _count_events(storage: str, run_id: str) -> int:
    with psycopg.connect(storage) as connection:
        row = connection.execute(
            "SELECT count(*) FROM event_logs WHERE run_id = %s", [run_id]
        ).fetchone()
    return int(row[0]) if row else 0


def _figures(
    idle: _Window,
    busy: _Window,
    run_count: int,
    phases: list[dict[str, float]],
    events: list[int],
) -> list[Figure]:
    def per_run(amount: float, idle_amount: float) -> float:
        return (amount - idle_amount * busy.seconds / idle.seconds) / run_count

    cpu = {part: per_run(busy.cpu[part], idle.cpu[part]) for part in PARTS}
    whole = Reference("processor seconds of all parts, a run", sum(cpu.values()))
    a_run = Reference(
        "a run, launch to success", sum(median(p[k] for p in phases) for k in phases[0])
    )
    idle_whole = Reference("cores of all parts, idle", sum(idle.cpu.values()) / idle.seconds)
    figures = [
        Figure("run start: processor time of a run, all parts", whole.value, "s", whole),
        *(
            Figure(f"run start: processor time of a run, {part}", seconds, "s", whole)
            for part, seconds in cpu.items()
        ),
        *(
            Figure(f"run start: {phase}", median(each[phase] for each in phases), "s", a_run)
            for phase in phases[0]
        ),
        Figure(
            "run start: storage connections of a run",
            per_run(busy.connections, idle.connections),
            "connections",
            Reference(
                "storage transactions of a run", per_run(busy.transactions, idle.transactions)
            ),
        ),
        Figure(
            "run start: event log rows of a run",
            median(events),
            "rows",
            Reference("rows of the first run", events[0]),
        ),
        *(
            Figure(f"idle: {part}", idle.cpu[part] / idle.seconds, "cores", idle_whole)
            for part in PARTS
        ),
        Figure(
            "idle: storage connections",
            idle.connections / idle.seconds,
            "1/s",
            Reference("storage transactions, 1/s", idle.transactions / idle.seconds),
        ),
    ]
    return figures
