"""The hourly purge of what Dagster itself keeps: old runs, their events, observations, checks.

Dagster deletes old ticks (`retention` in `dagster.yaml`) and nothing else. A busy platform makes
tens of thousands of runs a day, of some twenty-five event log rows each. Its own way to delete a
run goes one by one; this deletes parts of the same tables, by Dagster's own descriptions of them.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy
from dagster import (
    AssetExecutionContext,
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    MaterializeResult,
    MetadataValue,
    ScheduleDefinition,
    asset,
    define_asset_job,
    in_process_executor,
)
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable
from sqlalchemy import delete, func, select

from assets.event_records.record_assets import OWNER
from contracts.settings import load_settings, with_psycopg

NEWEST_KEPT = 50
"""Runs of each job that are kept however old: what is seldom run keeps its history."""
_PART = 500
_RUNLESS = ""
_FINISHED = [
    each.value
    for each in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
]


@dataclass(frozen=True)
class PurgedStorage:
    """Rows that were deleted from Dagster's storage."""

    runs: int
    run_events: int
    """With the materializations among them."""
    observations: int
    """Events outside of runs."""
    check_results: int


@asset(
    group_name="operations",
    description=(
        "Deletes Dagster's finished runs that are older than `retention.run_days` or beyond the"
        f" newest `retention.runs_per_job` of their job, and observations of that age. The newest"
        f" {NEWEST_KEPT} of each job stay."
    ),
    kinds={"dagster"},
    owners=[OWNER],
)
def purged_runs(context: AssetExecutionContext) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Delete what is over its age or number; where neither is set, nothing."""
    settings = load_settings()
    engine = sqlalchemy.create_engine(
        with_psycopg(settings.dagster_database_url), poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        purged = purge_storage(
            connection,
            run_days=settings.retention.run_days,
            runs_per_job=settings.retention.runs_per_job,
        )
    context.log.info(f"deleted: {purged}")
    return MaterializeResult(
        metadata={name: MetadataValue.int(count) for name, count in asdict(purged).items()}
    )


def purge_storage(
    connection: sqlalchemy.Connection,
    *,
    run_days: int,
    runs_per_job: int,
    always_kept: int = NEWEST_KEPT,
) -> PurgedStorage:
    """Delete finished runs and what belongs to them, a part in each transaction.

    Args:
        run_days: days since a run ended or an observation was made; 0: any age stays.
        runs_per_job: 0: any number stays.
        always_kept: newest runs of each job that stay in any case.
    """
    before = datetime.now(UTC) - timedelta(days=run_days) if run_days else None
    runs = events = checks = 0
    while True:
        with connection.begin():
            run_ids = connection.scalars(_old_runs(before, runs_per_job, always_kept)).all()
            events += _delete_events(connection, SqlEventLogStorageTable.c.run_id.in_(run_ids))
            checks += _delete(
                connection,
                AssetCheckExecutionsTable,
                AssetCheckExecutionsTable.c.run_id.in_(run_ids),
            )
            # Their tags go with them.
            runs += _delete(connection, RunsTable, RunsTable.c.run_id.in_(run_ids))
        if len(run_ids) < _PART:
            break
    observations = 0
    if before is not None:
        with connection.begin():
            observations = _delete_events(connection, _is_old_observation(before))
            checks += _delete(connection, AssetCheckExecutionsTable, _is_old_evaluation(before))
    return PurgedStorage(runs, events, observations, checks)


def _old_runs(
    before: datetime | None, runs_per_job: int, always_kept: int
) -> sqlalchemy.Select[tuple[str]]:
    ranked = select(
        RunsTable.c.run_id,
        RunsTable.c.status,
        RunsTable.c.end_time,
        func.row_number()
        .over(partition_by=RunsTable.c.pipeline_name, order_by=RunsTable.c.id.desc())
        .label("place"),
    ).subquery()
    is_over = sqlalchemy.or_(
        ranked.c.end_time < before.timestamp() if before else sqlalchemy.false(),
        ranked.c.place > runs_per_job if runs_per_job else sqlalchemy.false(),
    )
    return (
        select(ranked.c.run_id)
        .where(ranked.c.status.in_(_FINISHED), ranked.c.place > always_kept, is_over)
        .limit(_PART)
    )


def _is_old_observation(before: datetime) -> sqlalchemy.ColumnElement[bool]:
    event = SqlEventLogStorageTable
    # The columns are of UTC without a zone.
    return sqlalchemy.and_(
        event.c.run_id == _RUNLESS, event.c.timestamp < before.replace(tzinfo=None)
    )


def _is_old_evaluation(before: datetime) -> sqlalchemy.ColumnElement[bool]:
    check = AssetCheckExecutionsTable
    newest = select(func.max(check.c.id)).group_by(check.c.asset_key, check.c.check_name)
    return sqlalchemy.and_(
        check.c.run_id == _RUNLESS,
        check.c.create_timestamp < before.replace(tzinfo=None),
        check.c.id.not_in(newest),
    )


def _delete_events(
    connection: sqlalchemy.Connection, condition: sqlalchemy.ColumnElement[bool]
) -> int:
    event = SqlEventLogStorageTable
    _delete(
        connection,
        AssetEventTagsTable,
        AssetEventTagsTable.c.event_id.in_(select(event.c.id).where(condition)),
    )
    return _delete(connection, event, condition)


def _delete(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    condition: sqlalchemy.ColumnElement[bool],
) -> int:
    return connection.execute(delete(table).where(condition)).rowcount


purge_runs_job = define_asset_job(
    "purge_runs",
    selection=AssetSelection.assets(purged_runs),
    description="Deletes Dagster's own history over the settings' `retention`.",
    executor_def=in_process_executor,
)
hourly_run_purge = ScheduleDefinition(
    name="hourly_run_purge",
    job=purge_runs_job,
    cron_schedule="47 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Each hour at 47 minutes, so that a busy platform's history stays bounded.",
)
