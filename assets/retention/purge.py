"""The daily purge: events over their age are deleted, a part at a time."""

from datetime import UTC, date, datetime, timedelta

import sqlalchemy
from dagster import (
    AssetExecutionContext,
    AssetSelection,
    DefaultScheduleStatus,
    MaterializeResult,
    MetadataValue,
    ScheduleDefinition,
    asset,
    define_asset_job,
    in_process_executor,
)
from sqlalchemy import delete, func, select

from assets.event_records.record_assets import OWNER, record_assets
from contracts.settings import load_settings
from contracts.tables import EVENT_TABLES, dead_letters, rerank_scores
from resources.postgres import PostgresResource

_PART_ROWS = 10_000
"""Deleted by one transaction: a long one would hold back every batch that waits for its locks."""


@asset(
    deps=record_assets,
    group_name="operations",
    description=(
        "Deletes events older than `retention.event_days`, and settled dead letters older than"
        " `retention.dead_letter_days`. Days that the lake has not taken yet are left."
    ),
    kinds={"postgres"},
    owners=[OWNER],
)
def purged_events(context: AssetExecutionContext, postgres: PostgresResource) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Delete what is over its age; where no age is set, nothing."""
    settings = load_settings().retention
    today = datetime.now(UTC).date()
    deleted: dict[str, int] = {}
    left_days: set[date] = set()
    with postgres.connect() as connection:
        if settings.event_days:
            before = _midnight(today - timedelta(days=settings.event_days))
            for table in EVENT_TABLES:
                unmoved = _unmoved_days(connection, table)
                left_days |= {day for day in unmoved if _midnight(day) < before}
                deleted[table.name] = _delete_events(connection, table, before, unmoved)
            old_scores = rerank_scores.c.scored_at < before
            deleted[rerank_scores.name] = _delete_parts(connection, rerank_scores, old_scores)
        if settings.dead_letter_days:
            before = _midnight(today - timedelta(days=settings.dead_letter_days))
            is_settled = sqlalchemy.or_(
                dead_letters.c.replayed_at.is_not(None), dead_letters.c.dropped_at.is_not(None)
            )
            deleted[dead_letters.name] = _delete_parts(
                connection,
                dead_letters,
                sqlalchemy.and_(dead_letters.c.recorded_at < before, is_settled),
            )
    total = sum(deleted.values())
    context.log.info(f"{total} rows deleted: {deleted}")
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(total),
            "deleted": MetadataValue.int(total),
            "deleted_by_table": MetadataValue.json(deleted),
            "days_left_for_the_lake": MetadataValue.json(sorted(map(str, left_days))),
        }
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _unmoved_days(connection: sqlalchemy.Connection, table: sqlalchemy.Table) -> list[date]:
    """Return the days of which the lake, where it is on, has not all rows of `table`."""
    if not load_settings().lake.enabled:
        return []
    from assets.lake.intervals import find_unmoved_days
    from contracts.lake import LAKE_TABLES

    with connection.begin():
        return [
            day
            for lake_table in LAKE_TABLES
            if lake_table.source is table
            for day in find_unmoved_days(connection, lake_table)
        ]


def _delete_events(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    before: datetime,
    kept_days: list[date],
) -> int:
    occurred_at = table.c.occurred_at
    condition = occurred_at < before
    for day in kept_days:
        start = _midnight(day)
        condition = sqlalchemy.and_(
            condition,
            sqlalchemy.or_(occurred_at < start, occurred_at >= start + timedelta(days=1)),
        )
    return _delete_parts(connection, table, condition)


def _delete_parts(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    condition: sqlalchemy.ColumnElement[bool],
) -> int:
    """Delete the rows of `condition`, which an index serves; return how many."""
    # A row's place, which a subquery finds by the index and the deletion without one.
    place: sqlalchemy.ColumnClause[str] = sqlalchemy.literal_column("ctid")
    part = select(place).select_from(table).where(condition).limit(_PART_ROWS)
    statement = delete(table).where(place == sqlalchemy.any_(func.array(part.scalar_subquery())))
    deleted = 0
    while True:
        with connection.begin():
            count = connection.execute(statement).rowcount
        deleted += count
        if count < _PART_ROWS:
            return deleted


purge_job = define_asset_job(
    "purge_events",
    selection=AssetSelection.assets(purged_events),
    description="Deletes what is older than the settings' `retention` says.",
    executor_def=in_process_executor,
)
daily_purge = ScheduleDefinition(
    name="daily_purge",
    job=purge_job,
    cron_schedule="17 3 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="At 03:17 UTC. Deletes nothing where no age is set.",
)
