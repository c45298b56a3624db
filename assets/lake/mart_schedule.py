"""When the marts are built: every hour, for the days of which the lake got rows.

The days come from the lake's watermarks, not from a fixed look-back: an event that was a week late
has its day built again, and a quiet day costs nothing. A request's events may lie on two sides of a
midnight and are joined across it, so the days beside a changed one are built too.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import sqlalchemy
from dagster import (
    DagsterRunStatus,
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    SCHEDULE_NAME_TAG,
)
from sqlalchemy import func, select

from assets.chat_pair_dataset import daily
from assets.lake.mart_assets import MARTS_JOB, marts_job
from contracts.settings import load_settings
from contracts.tables import erasure_requests, lake_watermarks
from resources.postgres import PostgresResource

_SCHEDULE = "hourly_marts"
_DAY = timedelta(days=1)
_CLOCK_TOLERANCE = timedelta(minutes=1)
"""Between the clocks of the database and of Dagster, for what was committed as a build began."""


@schedule(
    name=_SCHEDULE,
    job=marts_job,
    cron_schedule="22 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description=(
        "Has the marts built for the days of which the lake got rows, however late these came,"
        " since the last build that succeeded; for all days, when rows were erased from it."
    ),
)
def hourly_marts(
    context: ScheduleEvaluationContext, postgres: PostgresResource
) -> RunRequest | SkipReason:
    """Request a build, unless the last one has seen everything."""
    if not load_settings().lake.enabled:
        return SkipReason("the lake is off: `lake.enabled`")
    runs = context.instance.get_run_records
    if runs(RunsFilter(job_name=MARTS_JOB, statuses=NOT_FINISHED_STATUSES), limit=1):
        return SkipReason("the marts are being built")
    # A run that somebody started by hand has seen its own days, and says nothing of the others.
    built = runs(
        RunsFilter(
            job_name=MARTS_JOB,
            statuses=[DagsterRunStatus.SUCCESS],
            tags={SCHEDULE_NAME_TAG: _SCHEDULE},
        ),
        limit=1,
    )
    since = (
        datetime.fromtimestamp(built[0].start_time or 0, UTC) - _CLOCK_TOLERANCE if built else None
    )
    with postgres.begin() as connection:
        days = _changed_days(connection, since)
    if not days:
        return SkipReason(
            "the lake did not change since the marts were built"
            if built
            else "the lake has no rows"
        )
    return request_build(*_neighbours(days))


def request_build(first: date, last: date) -> RunRequest:
    """Return the request of one run that builds the marts of the days, both included."""
    return RunRequest(
        job_name=MARTS_JOB,
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
            ASSET_PARTITION_RANGE_END_TAG: last.isoformat(),
        },
    )


def _changed_days(connection: sqlalchemy.Connection, since: datetime | None) -> Sequence[date]:
    """Return the days of which rows came to the lake since then, or were erased from it."""
    watermarks = lake_watermarks.c
    statement = select(watermarks.partition_day).distinct().order_by(watermarks.partition_day)
    erased_at = connection.scalar(select(func.max(erasure_requests.c.lake_erased_at)))
    # Which days an erased subject was in is not kept.
    if since is not None and (erased_at is None or erased_at < since):
        statement = statement.where(watermarks.recorded_at >= since)
    return connection.scalars(statement).all()


def _neighbours(days: Sequence[date]) -> tuple[date, date]:
    """Return the first and the last of the days to build; each has a partition."""
    partitions = daily.get_partition_keys()
    first, last = date.fromisoformat(partitions[0]), date.fromisoformat(partitions[-1])
    return max(days[0] - _DAY, first), min(days[-1] + _DAY, last)
