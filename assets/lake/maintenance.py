"""Keeps a lake table small: merges small files, expires old snapshots, deletes what is left over.

Before that, it erases what `sluice forget` was asked for. Each step is a commit of its own under
the table's lock, so a process that is killed leaves a sound table, and files that nothing refers
to for the next maintenance.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, EqualTo
from pyiceberg.io.pyarrow import ArrowScan

from assets.lake.batch import hold_table
from assets.lake.commits import QuickTransaction
from assets.lake.data_files import write_data_files
from assets.lake.iceberg_tables import count_rows, load_table, table_exists
from assets.lake.intervals import settle_watermarks
from assets.lake.leftovers import delete_leftovers, find_references_with, load_versions
from contracts.lake import LakeTable
from resources.lake import LakeResource
from resources.postgres import PostgresResource

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask, Table

MAINTENANCE_PROPERTY = "sluice.maintenance"


@dataclass(frozen=True)
class MaintenanceLimits:
    """What is merged and what is kept."""

    file_bytes: int = 32 * 1024 * 1024
    """Stored size up to which files of a day are merged into one."""
    least_files: int = 4
    """Fewer small files of a day are left as they are."""
    snapshot_age: timedelta = timedelta(days=7)
    """Younger snapshots are kept, for time travel."""
    leftover_age: timedelta = timedelta(days=1)
    """Younger files that no snapshot has are kept: somebody may be writing them."""


@dataclass(frozen=True)
class TableFigures:
    """How large a table is."""

    rows: int
    data_files: int
    data_bytes: int
    manifests: int
    snapshots: int
    planning_seconds: float
    """Time to find the files of a scan of everything."""


@dataclass(frozen=True)
class MaintenanceOutcome:
    """What a maintenance did to one table."""

    before: TableFigures
    after: TableFigures
    rows_erased: int
    files_merged: int
    files_written: int
    snapshots_expired: int
    files_deleted: int
    bytes_deleted: int
    not_erased_on: Sequence[str] = ()
    """Nessie's branches and tags that keep rows which were to be erased: a person decides."""


def maintain(
    table: LakeTable,
    *,
    postgres: PostgresResource,
    lake: LakeResource,
    limits: MaintenanceLimits | None = None,
    now: datetime | None = None,
    erased: Sequence[tuple[str, str]] = (),
) -> MaintenanceOutcome | None:
    """Erase, merge, expire and delete; None where there is no such table yet.

    Args:
        now: default: the clock's.
        erased: columns and values of rows that are to go for good. Where there were any, nothing
            older is kept: no snapshot, no file.

    Raises:
        TableIsBusy: batches held the table for longer than is waited for.
        pyiceberg.exceptions.CommitFailedException: another writer came between.
    """
    limits = limits or MaintenanceLimits()
    now = now or datetime.now(UTC)
    with hold_table(postgres, table, lock_seconds=60) as connection, lake.open() as catalog:
        if not table_exists(catalog, table):
            return None
        iceberg = load_table(catalog, table)
        before = measure(iceberg)
        # What the snapshots say of the days' intervals would go with them.
        settle_watermarks(connection, iceberg)
        subjects = _subjects_of(iceberg, erased)
        rows_erased = _erase_rows(iceberg, subjects)
        if subjects:
            # Also where no row went: a maintenance that was killed may have left older snapshots.
            limits = replace(limits, snapshot_age=timedelta(0), leftover_age=timedelta(0))
            now = datetime.now(UTC) + timedelta(seconds=1)
        merged, written = _merge_small_files(iceberg, table, limits)
        expired = _expire_snapshots(iceberg, now - limits.snapshot_age)
        versions = load_versions(iceberg, table, lake, now - limits.snapshot_age)
        deleted, deleted_bytes = delete_leftovers(iceberg, versions, now - limits.leftover_age)
        return MaintenanceOutcome(
            before=before,
            after=measure(iceberg),
            rows_erased=rows_erased,
            files_merged=merged,
            files_written=written,
            snapshots_expired=expired,
            files_deleted=deleted,
            bytes_deleted=deleted_bytes,
            not_erased_on=find_references_with(versions, subjects),
        )


def measure(iceberg: "Table") -> TableFigures:
    """Return the table's size as it is now."""
    started = time.monotonic()
    files = [task.file for task in iceberg.scan().plan_files()]
    planning_seconds = time.monotonic() - started
    snapshot = iceberg.current_snapshot()
    return TableFigures(
        rows=sum(file.record_count for file in files),
        data_files=len(files),
        data_bytes=sum(file.file_size_in_bytes for file in files),
        manifests=len(snapshot.manifests(iceberg.io)) if snapshot else 0,
        snapshots=len(iceberg.metadata.snapshots),
        planning_seconds=planning_seconds,
    )


def _merge_small_files(
    iceberg: "Table", table: LakeTable, limits: MaintenanceLimits
) -> tuple[int, int]:
    """Write the small files of each day as one; return how many there were and are."""
    groups = list(_groups_to_merge(iceberg, limits))
    files = [file for group in groups for file in _write_merged(iceberg, table, group)]
    merged = [task.file for group in groups for task in group]
    if merged:
        # One commit: each would be a snapshot more.
        with (
            QuickTransaction(iceberg) as transaction,
            transaction.update_snapshot(
                snapshot_properties={MAINTENANCE_PROPERTY: "merged small files"}
            ).overwrite() as overwrite,
        ):
            for file in merged:
                overwrite.delete_data_file(file)
            for file in files:
                overwrite.append_data_file(file)
    return len(merged), len(files)


def _groups_to_merge(iceberg: "Table", limits: MaintenanceLimits) -> Iterator[list["FileScanTask"]]:
    by_day: dict[Any, list[FileScanTask]] = {}
    for task in iceberg.scan().plan_files():
        if task.file.file_size_in_bytes < limits.file_bytes // 2:
            by_day.setdefault(task.file.partition, []).append(task)
    for tasks in by_day.values():
        group: list[FileScanTask] = []
        size = 0
        for task in tasks:
            if size + task.file.file_size_in_bytes > limits.file_bytes:
                if len(group) >= limits.least_files:
                    yield group
                group, size = [], 0
            group.append(task)
            size += task.file.file_size_in_bytes
        if len(group) >= limits.least_files:
            yield group


def _write_merged(
    iceberg: "Table", table: LakeTable, group: Sequence["FileScanTask"]
) -> Iterator["DataFile"]:
    scan = ArrowScan(iceberg.metadata, iceberg.io, iceberg.schema(), AlwaysTrue())
    rows = pa.concat_tables(
        pa.Table.from_batches([batch]) for batch in scan.to_record_batches(group)
    )
    order: Any = [(name, "ascending") for name in (table.moment, *table.key)]
    return write_data_files(
        iceberg,
        [rows.sort_by(order)],
        day=rows[table.moment][0].as_py().astimezone(UTC).date(),
        file_bytes=rows.nbytes + 1,
    )


def _subjects_of(iceberg: "Table", erased: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return those columns and values of which the table has the column."""
    columns = set(iceberg.schema().column_names)
    return [(column, value) for column, value in erased if column in columns]


def _erase_rows(iceberg: "Table", subjects: Sequence[tuple[str, str]]) -> int:
    """Write the files anew that have such rows, without them; return how many rows went."""
    before = count_rows(iceberg)
    for column, value in subjects:
        condition = EqualTo(column, value)  # type: ignore[arg-type, call-arg]  # as documented
        iceberg.delete(condition, snapshot_properties={MAINTENANCE_PROPERTY: "erased rows"})
    return before - count_rows(iceberg)


def _expire_snapshots(iceberg: "Table", older_than: datetime) -> int:
    limit = older_than.timestamp() * 1000
    heads = {reference.snapshot_id for reference in iceberg.metadata.refs.values()}
    old = [
        each.snapshot_id
        for each in iceberg.metadata.snapshots
        if each.timestamp_ms < limit and each.snapshot_id not in heads
    ]
    if old:
        iceberg.maintenance.expire_snapshots().by_ids(old).commit()
        iceberg.refresh()
    return len(old)
