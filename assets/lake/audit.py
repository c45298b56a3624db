"""Judges an interval's rows while they stream by, before they are committed to the lake."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.lake.findings import COMMITTED, NO_NULLS, ROW_COUNT, UNIQUE, WITHIN_DAY, Finding
from assets.lake.intervals import Interval
from contracts.lake import LakeTable


@dataclass
class Audit:
    """The figures of one interval's rows, in memory that does not grow with them."""

    table: LakeTable
    interval: Interval
    row_count: int = 0
    nulls: dict[str, int] = field(default_factory=dict)
    not_ascending: int = 0
    outside: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None
    _last: pa.Table | None = None

    def watch(self, batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Pass `batches` on, taking note of them."""
        for batch in batches:
            self._note(batch)
            yield batch

    def conclude(self, *, expected: int) -> list[Finding]:
        """Return what was found of the rows."""
        return [
            Finding(
                ROW_COUNT,
                self.row_count == expected,
                {"rows": self.row_count, "expected": expected},
            ),
            Finding(NO_NULLS, not self.nulls, {"nulls": self.nulls}),
            Finding(UNIQUE, self.not_ascending == 0, {"rows_out_of_order": self.not_ascending}),
            Finding(
                WITHIN_DAY,
                self.outside == 0,
                {
                    "rows_outside": self.outside,
                    "earliest": str(self.earliest or ""),
                    "latest": str(self.latest or ""),
                },
            ),
        ]

    def _note(self, batch: pa.Table) -> None:
        self.row_count += batch.num_rows
        self._note_nulls(batch)
        self._note_moments(batch[self.table.moment])
        self._note_order(batch)

    def _note_nulls(self, batch: pa.Table) -> None:
        for column in self.table.columns:
            if not column.nullable and (nulls := batch[column.name].null_count):
                self.nulls[column.name] = self.nulls.get(column.name, 0) + nulls

    def _note_moments(self, moments: Any) -> None:
        extremes: Any = pc.min_max(moments).as_py()
        if extremes["min"] is None:
            return
        self.earliest = min(filter(None, (self.earliest, extremes["min"])))
        self.latest = max(filter(None, (self.latest, extremes["max"])))
        start = pa.scalar(self.interval.start, moments.type)
        end = pa.scalar(self.interval.end, moments.type)
        is_inside = pc.and_(pc.greater_equal(moments, start), pc.less(moments, end))
        self.outside += _count_not_true(is_inside)

    def _note_order(self, batch: pa.Table) -> None:
        """Count rows that are not after the row before them: equal keys are neighbours."""
        keys = batch.select([self.table.moment, *self.table.key])
        rows = keys if self._last is None else pa.concat_tables([self._last, keys])
        rows = rows.combine_chunks()
        before, after = rows.slice(0, rows.num_rows - 1), rows.slice(1)
        is_after: Any = pa.repeat(pa.scalar(value=False), before.num_rows)
        for name in reversed(rows.column_names):
            is_equal = pc.equal(after[name], before[name])
            is_after = pc.or_(pc.greater(after[name], before[name]), pc.and_(is_equal, is_after))
        self.not_ascending += _count_not_true(is_after)
        self._last = keys.slice(keys.num_rows - 1)


def audit_commit(before: int, after: int, row_count: int) -> Finding:
    """Return what is found of a commit of `row_count` rows to a table of `before` rows."""
    details = {"rows_before": before, "rows_after": after, "rows_of_batch": row_count}
    return Finding(COMMITTED, after == before + row_count, details)


def _count_not_true(mask: Any) -> int:
    """Return how many values are false or null."""
    return len(mask) - int(pc.sum(mask.cast(pa.int64())).as_py() or 0)
