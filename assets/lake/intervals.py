"""Which rows a batch moves: half-open intervals of transaction IDs, kept for each day.

Every row carries the ID of the transaction that wrote it. IDs are given in order, but commits come
in any order, as do the values of sequences and clocks: a row with a lower ID, an earlier sequence
number and an earlier `ingested_at` may become visible minutes after one with higher ones. So a
batch does not end at the newest row it sees. It ends below `pg_snapshot_xmin`, the oldest
transaction that is still running: all with lower IDs have ended, and each that will ever commit has
a higher one (https://www.postgresql.org/docs/18/functions-info.html#FUNCTIONS-INFO-SNAPSHOT). A
long transaction anywhere on the server makes batches wait for it; it cannot make them miss a row.

A day's next interval begins where its last one ended. What was moved is said by the snapshots of
the Iceberg table, committed together with the rows; `lake_watermarks` repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import BigInteger, Date, cast, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from contracts.lake import LakeTable
from contracts.tables import TRANSACTION_ID, lake_scans, lake_watermarks

if TYPE_CHECKING:
    from pyiceberg.table import Table

DAY_PROPERTY = "sluice.day"
LOW_PROPERTY = "sluice.low-watermark"
HIGH_PROPERTY = "sluice.high-watermark"


@dataclass(frozen=True)
class Interval:
    """Rows of `day` by transactions with low ≤ ID < high."""

    day: date
    low: int
    high: int

    @property
    def is_empty(self) -> bool:
        return self.low >= self.high

    @property
    def start(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=1)

    def condition(self, table: LakeTable) -> sqlalchemy.ColumnElement[bool]:
        """Return the condition that a row of `table` belongs to the interval."""
        moment = table.source.c[table.moment]
        transaction = table.source.c[TRANSACTION_ID]
        return sqlalchemy.and_(
            moment >= self.start,
            moment < self.end,
            transaction >= self.low,
            transaction < self.high,
        )

    @property
    def summary(self) -> dict[str, str]:
        """Properties for the summary of the snapshot that has the interval's rows."""
        return {
            DAY_PROPERTY: self.day.isoformat(),
            LOW_PROPERTY: str(self.low),
            HIGH_PROPERTY: str(self.high),
        }


OLDEST_RUNNING = cast(
    cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), sqlalchemy.Text), BigInteger
)
"""The ID below which every transaction has ended, as the current snapshot has it."""


@dataclass(frozen=True)
class CommittedInterval:
    """An interval as the snapshot says that has its rows."""

    interval: Interval
    row_count: int
    snapshot_id: int


def find_low_watermark(connection: sqlalchemy.Connection, table: "Table", day: date) -> int:
    """Return where the next interval of `day` begins; 0 where nothing was moved yet.

    The watermarks are to be settled (`settle_watermarks`).
    """
    return _recorded_high_watermarks(connection, table).get(day, 0)


def record_watermark(
    connection: sqlalchemy.Connection,
    table: "Table",
    interval: Interval,
    *,
    row_count: int,
    snapshot_id: int | None,
) -> None:
    """Say that the rows of `interval` are in the lake."""
    values = {
        "table_uuid": table.metadata.table_uuid,
        "low_watermark": interval.low,
        "high_watermark": interval.high,
        "row_count": row_count,
        "snapshot_id": snapshot_id,
        "recorded_at": func.now(),
    }
    connection.execute(
        insert(lake_watermarks)
        .values(table_name=_name(table), partition_day=interval.day, **values)
        .on_conflict_do_update(
            index_elements=[lake_watermarks.c.table_name, lake_watermarks.c.partition_day],
            set_=values,
        )
    )


def settle_watermarks(connection: sqlalchemy.Connection, table: "Table") -> None:
    """Record what the table's snapshots say and the watermarks do not.

    Whoever is to commit to the table does this first: a commit may take older snapshots along. The
    maintenance expires them, and of a table in Nessie only the newest is ever seen.
    """
    recorded = _recorded_high_watermarks(connection, table)
    for day, committed in _committed_intervals(table).items():
        if committed.interval.high > recorded.get(day, 0):
            record_watermark(
                connection,
                table,
                committed.interval,
                row_count=committed.row_count,
                snapshot_id=committed.snapshot_id,
            )


def _committed_intervals(table: "Table") -> dict[date, CommittedInterval]:
    """Return day → its last interval, from what the table has: not from what was taken back."""
    from pyiceberg.table.snapshots import ancestors_of

    committed: dict[date, CommittedInterval] = {}
    for snapshot in ancestors_of(table.current_snapshot(), table.metadata):
        properties = snapshot.summary.additional_properties if snapshot.summary else {}
        if DAY_PROPERTY not in properties:
            continue
        day = date.fromisoformat(properties[DAY_PROPERTY])
        interval = Interval(day, int(properties[LOW_PROPERTY]), int(properties[HIGH_PROPERTY]))
        if day not in committed or committed[day].interval.high < interval.high:
            row_count = int(properties.get("added-records", 0))
            committed[day] = CommittedInterval(interval, row_count, snapshot.snapshot_id)
    return committed


def _recorded_high_watermarks(
    connection: sqlalchemy.Connection, table: "Table"
) -> Mapping[date, int]:
    found = connection.execute(
        select(lake_watermarks.c.partition_day, lake_watermarks.c.high_watermark).where(
            lake_watermarks.c.table_name == _name(table),
            lake_watermarks.c.table_uuid == table.metadata.table_uuid,
        )
    )
    return {row.partition_day: row.high_watermark for row in found}


def forget_watermarks(connection: sqlalchemy.Connection, table: LakeTable) -> None:
    """Have everything moved again: the Iceberg table is about to be made."""
    for each in (lake_watermarks, lake_scans):
        connection.execute(delete(each).where(each.c.table_name == table.name))


def find_unmoved_days(connection: sqlalchemy.Connection, table: LakeTable) -> Mapping[date, int]:
    """Return day → rows that are not in the lake yet, though their transactions have ended.

    What was found to be in the lake is not looked at again: the next search begins at the oldest
    row that was not.
    """
    moment = table.source.c[table.moment]
    transaction = table.source.c[TRANSACTION_ID]
    day = cast(func.timezone("UTC", moment), Date)
    scanned_below = (
        connection.scalar(
            select(lake_scans.c.scanned_below).where(lake_scans.c.table_name == table.name)
        )
        or 0
    )
    oldest_running = connection.scalar(select(OLDEST_RUNNING)) or 0
    unmoved = connection.execute(
        select(day, func.count(), func.min(transaction))
        .select_from(
            table.source.outerjoin(
                lake_watermarks,
                sqlalchemy.and_(
                    lake_watermarks.c.table_name == table.name,
                    lake_watermarks.c.partition_day == day,
                ),
            )
        )
        .where(
            transaction >= scanned_below,
            transaction < oldest_running,
            transaction >= func.coalesce(lake_watermarks.c.high_watermark, 0),
        )
        .group_by(day)
    ).all()
    values = {
        "scanned_below": min((row[2] for row in unmoved), default=oldest_running),
        "recorded_at": func.now(),
    }
    connection.execute(
        insert(lake_scans)
        .values(table_name=table.name, **values)
        .on_conflict_do_update(index_elements=[lake_scans.c.table_name], set_=values)
    )
    return {row[0]: row[1] for row in unmoved}


def _name(table: "Table") -> str:
    return table.name()[-1]
