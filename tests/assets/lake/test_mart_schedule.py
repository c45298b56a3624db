"""When the marts are built, and of which days."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    build_schedule_context,
    job,
    op,
)

from assets.lake.batch import move_day
from assets.lake.mart_assets import MARTS_JOB
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import definitions
from tests.support.lake_rows import DAY, insert_rows

Tick = Callable[[], RunRequest | str]


@pytest.fixture
def instance(tmp_path: Path) -> DagsterInstance:
    return DagsterInstance.local_temp(str(tmp_path))


@pytest.fixture
def tick(instance: DagsterInstance, postgres: PostgresResource) -> Tick:
    def evaluate() -> RunRequest | str:
        # A context that is left open makes its instance the process's current one; the garbage
        # collector may end two in an order that leaves one that is gone, for later tests to find.
        with build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources={"postgres": postgres},
            repository_def=definitions().get_repository_def(),
        ) as context:
            result = definitions().resolve_schedule_def("hourly_marts").evaluate_tick(context)
        (request,) = result.run_requests or (result.skip_message or "",)
        return request

    return evaluate


@pytest.fixture
def move(database_url: str, postgres: PostgresResource, lake: LakeResource) -> Callable[..., None]:
    """Have a row of a day come to the lake, some time ago."""

    def move_row(day: date, *, ago: timedelta = timedelta()) -> None:
        with psycopg.connect(database_url) as connection:
            insert_rows(connection, "chat_history", 1, day=day)
        move_day(LAKE_TABLES[0], day, postgres=postgres, lake=lake)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "UPDATE lake_watermarks SET recorded_at = now() - %s WHERE partition_day = %s",
                (ago, day),
            )

    return move_row


def _days(request: RunRequest | str) -> tuple[str, str]:
    assert isinstance(request, RunRequest), request
    tags = request.tags
    return (
        tags["dagster/asset_partition_range_start"],
        tags["dagster/asset_partition_range_end"],
    )


def _add_run(
    instance: DagsterInstance, status: DagsterRunStatus, *, schedule: str = "hourly_marts"
) -> None:
    run = DagsterRun(job_name=MARTS_JOB, status=status, tags={"dagster/schedule_name": schedule})
    instance.add_run(run)


def test_an_empty_lake_has_no_marts(tick: Tick) -> None:
    assert tick() == "the lake has no rows"


def test_the_first_build_is_of_every_day_and_those_beside_them(
    tick: Tick, move: Callable[..., None]
) -> None:
    move(DAY)
    move(DAY + timedelta(days=40))

    assert _days(tick()) == ("2026-03-13", "2026-04-24")


def test_one_build_at_a_time(
    tick: Tick, move: Callable[..., None], instance: DagsterInstance
) -> None:
    move(DAY)
    _add_run(instance, DagsterRunStatus.STARTED)

    assert tick() == "the marts are being built"


def test_only_the_days_that_changed_since_the_last_build_are_built_again(
    tick: Tick, move: Callable[..., None], instance: DagsterInstance
) -> None:
    move(DAY, ago=timedelta(hours=2))
    move(DAY + timedelta(days=20), ago=timedelta(hours=2))
    _build(instance, {})
    assert _days(tick()) == ("2026-03-13", "2026-04-04"), "a build by hand is of some days alone"
    _build(instance, {"dagster/schedule_name": "hourly_marts"})
    assert tick() == "the lake did not change since the marts were built"

    # A row that came late.
    move(DAY)

    assert _days(tick()) == ("2026-03-13", "2026-03-15")


def test_after_an_erasure_every_day_is_built(
    tick: Tick, move: Callable[..., None], instance: DagsterInstance, database_url: str
) -> None:
    move(DAY, ago=timedelta(hours=2))
    move(DAY + timedelta(days=20), ago=timedelta(hours=2))
    _build(instance, {"dagster/schedule_name": "hourly_marts"})
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO erasure_requests (erasure_id, subject_kind, subject, row_count,"
            " lake_erased_at) VALUES (gen_random_uuid(), 'correlation_id', 'x', 1, now())"
        )

    assert _days(tick()) == ("2026-03-13", "2026-04-04")


def _build(instance: DagsterInstance, tags: dict[str, str]) -> None:
    """Leave a run of the job's name that succeeded: what it would do is not what is tested."""

    @op
    def nothing() -> None: ...

    @job(name=MARTS_JOB)
    def build() -> None:
        nothing()

    assert build.execute_in_process(instance=instance, tags=tags).success
