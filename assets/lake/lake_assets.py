"""The lake's tables as assets: a partition is a UTC day, a run moves what is new of it."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableColumn,
    TableSchema,
    asset,
    define_asset_job,
    in_process_executor,
)

from assets.chat_pair_dataset import daily
from assets.lake.findings import AUDITS, AuditFailed, Finding
from contracts.lake import LAKE_TABLES, LakeTable
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource

if TYPE_CHECKING:
    # PyIceberg and Arrow are for runs that move rows: every run imports this module.
    from assets.lake.batch import BatchOutcome

LAKE_JOB = "move_to_lake"
_MEBIBYTE = 1024 * 1024


def lake_key(table: LakeTable) -> AssetKey:
    """Return the key of the asset that is the lake's `table`."""
    return AssetKey(["lake", table.name])


def build_lake_asset(table: LakeTable) -> AssetsDefinition:
    """Return the asset of `table`. A run of it moves what is new of its partition's day."""

    @asset(
        key=lake_key(table),
        partitions_def=daily,
        deps=[table.source_asset],
        group_name="lake",
        description=f"{table.description} Append-only history, partitioned by day.",
        kinds={"iceberg", "postgres"},
        owners=["team:data-platform"],
        metadata={"dagster/column_schema": _column_schema(table)},
        check_specs=[
            AssetCheckSpec(name, asset=lake_key(table), description=description, blocking=True)
            for name, description in AUDITS.items()
        ],
    )
    def lake_table(
        context: AssetExecutionContext, postgres: PostgresResource, lake: LakeResource
    ) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
        from assets.lake.batch import BatchLimits, TableIsBusy, move_day
        from assets.lake.commits import CommitLost
        from assets.lake.extraction import WatermarkAhead
        from assets.lake.server_errors import SERVER_ERRORS

        limits = BatchLimits(file_bytes=load_settings().lake.file_mebibytes * _MEBIBYTE)
        day = date.fromisoformat(context.partition_key)
        try:
            outcome = move_day(table, day, postgres=postgres, lake=lake, limits=limits)
        except AuditFailed as error:
            yield from _check_results(error.findings)
            raise Failure(f"Nothing was moved, the audit failed: {error}") from error
        except (CommitLost, TableIsBusy, WatermarkAhead) as error:
            raise Failure(f"Nothing was moved: {error}") from error
        except SERVER_ERRORS as error:
            raise Failure(
                "The batch did not end, since a server could not be reached or could not answer."
                f" The day has all of its rows or none; the next batch sees which: {error}"
            ) from error
        context.log.info(f"{outcome.row_count} rows moved")
        yield MaterializeResult(
            metadata=_figures(outcome), check_results=_check_results(outcome.findings)
        )

    return lake_table


def _column_schema(table: LakeTable) -> TableSchema:
    return TableSchema(
        columns=[
            TableColumn(column.name, "nested" if column.name in table.shapes else str(column.type))
            for column in table.columns
        ]
    )


def _check_results(findings: tuple[Finding, ...]) -> list[AssetCheckResult]:
    return [
        AssetCheckResult(check_name=finding.audit, passed=finding.passed, metadata=finding.details)
        for finding in findings
    ]


def _figures(outcome: "BatchOutcome") -> dict[str, MetadataValue]:
    figures: dict[str, MetadataValue] = {
        "rows_moved": MetadataValue.int(outcome.row_count),
        "rows_per_second": MetadataValue.float(round(outcome.row_count / outcome.seconds, 1)),
        "transactions": MetadataValue.text(f"{outcome.interval.low} ≤ … < {outcome.interval.high}"),
        "data_files": MetadataValue.int(outcome.file_count),
        "bytes": MetadataValue.int(outcome.file_bytes),
        "snapshots_of_table": MetadataValue.int(outcome.snapshot_count),
    }
    if outcome.snapshot_id is not None:
        figures["snapshot_id"] = MetadataValue.text(str(outcome.snapshot_id))
    if outcome.earliest and outcome.latest:
        figures["earliest"] = MetadataValue.timestamp(outcome.earliest)
        figures["latest"] = MetadataValue.timestamp(outcome.latest)
    return figures


lake_assets: list[AssetsDefinition] = [build_lake_asset(table) for table in LAKE_TABLES]

lake_job = define_asset_job(
    LAKE_JOB,
    selection=AssetSelection.assets(*(lake_key(table) for table in LAKE_TABLES)),
    description="Moves what is new of a day from PostgreSQL to the lake.",
    executor_def=in_process_executor,
)
