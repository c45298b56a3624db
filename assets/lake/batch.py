"""Moves what is new of one day from a PostgreSQL table to its Iceberg table.

The steps, each of which may be the last one of a process that is killed:

1. the table's lock is taken, so that one batch at a time is at work on it;
2. the interval is found: from the day's watermark to the oldest running transaction;
3. its rows are read, audited and written to data files, which no snapshot knows yet;
4. one commit makes a snapshot of the files, with the interval in its summary, and is looked at;
   with Nessie it is on a branch of the batch's own, which is then merged; in the embedded catalog
   what does not pass is taken back;
5. the watermark is recorded.

Until 4, nothing has happened: the next batch finds the same watermark, and the files left over are
removed by the maintenance. From 4 on, the snapshot says where the next interval begins, with or
without 5. A batch that lost its lock, because its connection broke, cannot commit either once
another has: the commit demands that the table still is at the snapshot it was found at.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy

from assets.lake.audit import Audit, audit_commit
from assets.lake.commits import CommitLost, commit_files, take_back
from assets.lake.data_files import delete_data_files, write_data_files
from assets.lake.extraction import extract
from assets.lake.findings import AuditFailed, Finding
from assets.lake.iceberg_tables import count_rows, ensure_table, table_exists
from assets.lake.intervals import (
    Interval,
    find_low_watermark,
    forget_watermarks,
    record_watermark,
    settle_watermarks,
)
from contracts.lake import LakeTable
from resources.lake import LakeResource, Staging
from resources.postgres import LockIsHeld, PostgresResource

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_NO_LIMIT = 2**63 - 1


class TableIsBusy(Exception):
    """Another batch is at work on the table; what is new will be moved by the next one."""


@dataclass(frozen=True)
class BatchLimits:
    """How a batch uses memory and time."""

    file_bytes: int = 64 * 1024 * 1024
    """Arrow bytes gathered for one data file; about four times as much is in memory at most."""
    lock_seconds: float = 60.0
    """How long another batch at work on the table is waited for."""


@dataclass(frozen=True)
class BatchOutcome:
    """What a batch moved."""

    interval: Interval
    row_count: int
    file_count: int
    file_bytes: int
    """As stored, compressed."""
    snapshot_id: int | None
    """None where there was nothing to move."""
    findings: tuple[Finding, ...]
    earliest: datetime | None
    latest: datetime | None
    seconds: float
    snapshot_count: int
    """Of the table, with this one."""


def move_day(
    table: LakeTable,
    day: date,
    *,
    postgres: PostgresResource,
    lake: LakeResource,
    limits: BatchLimits | None = None,
) -> BatchOutcome:
    """Append to the lake what `table` has of `day` and the lake has not.

    Raises:
        AuditFailed: the rows are not what they should be; nothing was appended.
        TableIsBusy: another batch held the table for longer than is waited for.
        CommitLost: another commit came first; nothing was appended.
        WatermarkAhead: the database is behind the lake, as after a restore elsewhere.
    """
    limits = limits or BatchLimits()
    with (
        hold_table(postgres, table, limits.lock_seconds) as connection,
        lake.stage(table.name) as staging,
    ):
        iceberg = _open_table(connection, staging.catalog, table)
        settle_watermarks(connection, iceberg)
        return _Batch(table, day, iceberg, staging, connection, limits).move(postgres)


@contextmanager
def hold_table(
    postgres: PostgresResource, table: LakeTable, lock_seconds: float
) -> Iterator[sqlalchemy.Connection]:
    """Be the one that writes to the Iceberg table, for as long as the connection lives.

    Raises:
        TableIsBusy: another was, for `lock_seconds`.
    """
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(
                postgres.hold_lock(f"lake {table.name}", seconds=lock_seconds)
            )
        except LockIsHeld as error:
            raise TableIsBusy(
                f"another batch has been at work on {table.name} for {lock_seconds:.0f} s"
            ) from error
        yield connection


def _open_table(connection: sqlalchemy.Connection, catalog: "Catalog", table: LakeTable) -> "Table":
    if not table_exists(catalog, table):
        forget_watermarks(connection, table)
    return ensure_table(catalog, table)


@dataclass(frozen=True)
class _Batch:
    """One batch, at work on its table."""

    table: LakeTable
    day: date
    iceberg: "Table"
    staging: Staging
    connection: sqlalchemy.Connection
    limits: BatchLimits

    def move(self, postgres: PostgresResource) -> BatchOutcome:
        started = time.monotonic()
        low = find_low_watermark(self.connection, self.iceberg, self.day)
        wanted = Interval(self.day, low, _NO_LIMIT)
        with extract(postgres.libpq_url, self.table, wanted) as extraction:
            interval = extraction.interval
            audit = Audit(self.table, interval)
            files = _write_audited(self.iceberg, audit, extraction.batches, self.limits)
        findings = audit.conclude(expected=extraction.row_count)
        if not all(finding.passed for finding in findings):
            delete_data_files(self.iceberg, files)
            raise AuditFailed(findings)
        earlier = self.iceberg.current_snapshot()
        before = after = count_rows(self.iceberg)
        snapshot_id = None
        if files:
            snapshot_id = commit_files(self.iceberg, files, interval)
            after = count_rows(self.iceberg)
        findings.append(audit_commit(before, after, audit.row_count))
        if files:
            try:
                publish(self.staging, findings)
            except AuditFailed:
                if self.staging.is_public:
                    take_back(self.iceberg, earlier)
                raise
        record_watermark(
            self.connection,
            self.iceberg,
            interval,
            row_count=audit.row_count,
            snapshot_id=snapshot_id,
        )
        return BatchOutcome(
            interval=interval,
            row_count=audit.row_count,
            file_count=len(files),
            file_bytes=sum(file.file_size_in_bytes for file in files),
            snapshot_id=snapshot_id,
            findings=tuple(findings),
            earliest=audit.earliest,
            latest=audit.latest,
            seconds=time.monotonic() - started,
            snapshot_count=len(self.iceberg.metadata.snapshots),
        )


def publish(staging: Staging, findings: Sequence[Finding]) -> None:
    """Publish what was committed, unless it is not what it should be.

    Raises:
        AuditFailed: a finding did not pass; with Nessie, the branch is kept, unpublished.
        CommitLost: another batch came first; nothing was published.
    """
    from resources.nessie import MergeConflict

    if not all(finding.passed for finding in findings):
        staging.keep()
        raise AuditFailed(findings, kept_as=staging.kept_as)
    try:
        staging.publish()
    except MergeConflict as error:
        raise CommitLost(f"another batch was merged first: {error}") from error


def _write_audited(
    iceberg: "Table", audit: Audit, batches: Iterable[pa.Table], limits: BatchLimits
) -> list["DataFile"]:
    """Write the rows; a row without a value where one must be ends it, to be found by the audit."""
    files: list[DataFile] = []
    try:
        sound = _while_sound(audit, batches)
        day = audit.interval.day
        for file in write_data_files(iceberg, sound, day=day, file_bytes=limits.file_bytes):
            files.append(file)  # noqa: PERF402  # one by one: those before an error are deleted
    except BaseException:
        delete_data_files(iceberg, files)
        raise
    return files


def _while_sound(audit: Audit, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Pass batches on until the audit has found what would not fit into the table."""
    for batch in audit.watch(batches):
        if not (audit.nulls or audit.outside):
            yield batch
