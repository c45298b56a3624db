"""When batches are moved to the lake: every hour, for the days that have something new."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date

from dagster import (
    AssetKey,
    DefaultScheduleStatus,
    RunRequest,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from assets.chat_pair_dataset import daily
from assets.lake.intervals import find_unmoved_days
from assets.lake.lake_assets import lake_job, lake_key
from contracts.lake import LAKE_TABLES
from contracts.settings import load_settings
from resources.postgres import PostgresResource


@schedule(
    job=lake_job,
    cron_schedule="7 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description=(
        "Requests a run for each day of which PostgreSQL has rows that the lake has not, however"
        " late they came. What a failed run left is found again."
    ),
)
def hourly_lake_batches(
    context: ScheduleEvaluationContext, postgres: PostgresResource
) -> Iterator[RunRequest | SkipReason]:
    """Look for rows that are not in the lake, and have them moved."""
    if not load_settings().lake.enabled:
        yield SkipReason("the lake is off: `lake.enabled`")
        return
    tables_by_day: defaultdict[date, list[AssetKey]] = defaultdict(list)
    with postgres.begin() as connection:
        for table in LAKE_TABLES:
            for day in find_unmoved_days(connection, table):
                tables_by_day[day].append(lake_key(table))
    if not tables_by_day:
        yield SkipReason("the lake has every row")
    moment = context.scheduled_execution_time
    for day, keys in sorted(tables_by_day.items()):
        if not daily.has_partition_key(day.isoformat()):
            names = ", ".join(key.path[-1] for key in keys)
            context.log.error(f"{names}: rows of {day}, a day without a partition, cannot be moved")
            continue
        yield RunRequest(
            run_key=f"{moment.isoformat()} {day}",
            partition_key=day.isoformat(),
            asset_selection=keys,
        )
