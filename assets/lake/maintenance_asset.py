"""The daily maintenance of the lake, with its size over time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetRecordsFilter,
    AssetSelection,
    DefaultScheduleStatus,
    Failure,
    MaterializeResult,
    MetadataValue,
    RunRequest,
    SkipReason,
    TableRecord,
    asset,
    define_asset_job,
    in_process_executor,
    schedule,
)
from sqlalchemy import func, select, update

from assets.lake.lake_assets import lake_key
from assets.pictures import embed_picture, new_picture
from contracts.lake import LAKE_TABLES
from contracts.settings import load_settings
from contracts.tables import erasure_requests, lake_watermarks
from resources.lake import LakeResource
from resources.postgres import PostgresResource

if TYPE_CHECKING:
    from assets.lake.maintenance import MaintenanceOutcome

MAINTENANCE_JOB = "maintain_lake"
_KEY = AssetKey("lake_maintenance")
_HISTORY = 365
_PLOTTED = {"data_files": "data files", "mebibytes": "MiB", "snapshots": "snapshots"}
"""Figure in the metadata → its name in the picture."""


@asset(
    key=_KEY,
    deps=[lake_key(table) for table in LAKE_TABLES],
    group_name="lake",
    description=(
        "Erases what `sluice forget` was asked for, merges the small files of each day, expires"
        " old snapshots and deletes what no snapshot refers to; shows the lake's size over time."
    ),
    kinds={"iceberg"},
    owners=["team:data-platform"],
)
def lake_maintenance(
    context: AssetExecutionContext, postgres: PostgresResource, lake: LakeResource
) -> MaterializeResult[Any]:
    """Maintain one table after the other; one that fails does not keep the others from it."""
    from pyiceberg.exceptions import CommitFailedException

    from assets.lake.batch import TableIsBusy
    from assets.lake.maintenance import MaintenanceLimits, maintain

    limits = MaintenanceLimits(snapshot_age=timedelta(days=load_settings().lake.snapshot_days))
    requests = _erasure_requests(postgres)
    erased = [(request.subject_kind, request.subject) for request in requests]
    outcomes: dict[str, MaintenanceOutcome] = {}
    failures: list[str] = []
    for table in LAKE_TABLES:
        try:
            outcome = maintain(table, postgres=postgres, lake=lake, limits=limits, erased=erased)
        except (CommitFailedException, TableIsBusy) as error:
            failures.append(f"{table.name}: {error}")
            continue
        if outcome is not None:
            outcomes[table.name] = outcome
    figures = _figures(outcomes)
    if failures:
        raise Failure("Not all tables were maintained: " + "; ".join(failures), metadata=figures)
    keepers = sorted({name for each in outcomes.values() for name in each.not_erased_on})
    if keepers:
        context.log.warning(
            f"rows that are to be forgotten are still on {', '.join(keepers)}: merge or delete what"
            " needs no look any more, and the next maintenance completes the erasure"
        )
    else:
        _note_erased(postgres, [request.erasure_id for request in requests])
    history = [*_past_figures(context), (datetime.now(UTC), _totals(outcomes))]
    return MaterializeResult(metadata={**figures, "size_over_time": _plot(history)})


def _erasure_requests(postgres: PostgresResource) -> Sequence[Any]:
    """Return the requests of `sluice forget` that the lake has not fulfilled."""
    table = erasure_requests
    with postgres.begin() as connection:
        return connection.execute(
            select(table.c.erasure_id, table.c.subject_kind, table.c.subject).where(
                table.c.lake_erased_at.is_(None)
            )
        ).all()


def _note_erased(postgres: PostgresResource, erasure_ids: Sequence[UUID]) -> None:
    """Note that no file has the subjects' rows."""
    table = erasure_requests
    with postgres.begin() as connection:
        connection.execute(
            update(table)
            .where(table.c.erasure_id.in_(erasure_ids))
            .values(lake_erased_at=func.now())
        )


def _totals(outcomes: "dict[str, MaintenanceOutcome]") -> dict[str, float]:
    after = [outcome.after for outcome in outcomes.values()]
    return {
        "data_files": float(sum(each.data_files for each in after)),
        "mebibytes": sum(each.data_bytes for each in after) / 1024**2,
        "snapshots": float(sum(each.snapshots for each in after)),
    }


def _figures(outcomes: "dict[str, MaintenanceOutcome]") -> dict[str, MetadataValue]:
    records = [
        TableRecord(
            {
                "table": name,
                "rows": outcome.after.rows,
                "data_files": f"{outcome.before.data_files} → {outcome.after.data_files}",
                "mebibytes": round(outcome.after.data_bytes / 1024**2, 2),
                "manifests": f"{outcome.before.manifests} → {outcome.after.manifests}",
                "snapshots": f"{outcome.before.snapshots} → {outcome.after.snapshots}",
                "planning_ms": f"{outcome.before.planning_seconds * 1000:.0f} →"
                f" {outcome.after.planning_seconds * 1000:.0f}",
                "files_deleted": outcome.files_deleted,
            }
        )
        for name, outcome in outcomes.items()
    ]
    return {
        **{name: MetadataValue.float(value) for name, value in _totals(outcomes).items()},
        "rows_erased": MetadataValue.int(sum(each.rows_erased for each in outcomes.values())),
        "files_merged": MetadataValue.int(sum(each.files_merged for each in outcomes.values())),
        "snapshots_expired": MetadataValue.int(
            sum(each.snapshots_expired for each in outcomes.values())
        ),
        "bytes_deleted": MetadataValue.int(sum(each.bytes_deleted for each in outcomes.values())),
        "branches_not_erased": MetadataValue.text(
            ", ".join(sorted({name for each in outcomes.values() for name in each.not_erased_on}))
            or "none"
        ),
        "tables": MetadataValue.table(records) if records else MetadataValue.text("none yet"),
    }


def _past_figures(context: AssetExecutionContext) -> list[tuple[datetime, dict[str, float]]]:
    """Return the totals of the maintenances before, oldest first."""
    records = context.instance.fetch_materializations(AssetRecordsFilter(_KEY), limit=_HISTORY)
    past = []
    for record in reversed(records.records):
        materialization = record.asset_materialization
        if materialization is None:
            continue
        values = {name: materialization.metadata.get(name) for name in _PLOTTED}
        totals = {name: float(each.value) for name, each in values.items() if each is not None}
        if len(totals) == len(_PLOTTED):
            past.append((datetime.fromtimestamp(record.timestamp, UTC), totals))
    return past


def _plot(history: list[tuple[datetime, dict[str, float]]]) -> MetadataValue:
    picture = new_picture(rows=len(_PLOTTED))
    axes = picture.subplots(len(_PLOTTED), sharex=True)
    for ax, (name, label) in zip(axes, _PLOTTED.items(), strict=True):
        ax.plot([moment for moment, _ in history], [each[name] for _, each in history], marker="o")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
    axes[-1].tick_params(axis="x", labelrotation=20)
    return embed_picture(picture, "Size of the lake over time")


maintenance_job = define_asset_job(
    MAINTENANCE_JOB,
    selection=AssetSelection.assets(lake_maintenance),
    description="Merges small files, expires snapshots and deletes leftovers.",
    executor_def=in_process_executor,
)


@schedule(
    job=maintenance_job,
    cron_schedule="41 3 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Has the lake maintained where it has anything.",
)
def daily_lake_maintenance(postgres: PostgresResource) -> RunRequest | SkipReason:
    """Request a maintenance, unless no batch has moved anything yet."""
    if not load_settings().lake.enabled:
        return SkipReason("the lake is off: `lake.enabled`")
    with postgres.begin() as connection:
        if connection.scalar(select(lake_watermarks.c.table_name).limit(1)) is None:
            return SkipReason("the lake has no rows")
    return RunRequest()
