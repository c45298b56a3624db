"""What the audit makes of rows that are not what they should be, and the batch of the audit."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from assets.lake import batch
from assets.lake.audit import Audit
from assets.lake.batch import move_day
from assets.lake.findings import AuditFailed
from assets.lake.iceberg_tables import load_table
from assets.lake.intervals import Interval
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_audit import TOOL_CALLS
from tests.support.lake_rows import DAY, insert_rows

SCORES = next(table for table in LAKE_TABLES if table.name == "rerank_scores")
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def _rows(*keys: tuple[datetime, str], score: float | None = 1.0) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "query_sha256": key,
                "chunk_id": "c",
                "model": "m",
                "score": score,
                "scored_at": moment,
                "transaction_id": 7,
            }
            for moment, key in keys
        ],
        schema=pa.schema(
            [
                ("query_sha256", pa.string()),
                ("chunk_id", pa.string()),
                ("model", pa.string()),
                ("score", pa.float64()),
                ("scored_at", pa.timestamp("us", tz="UTC")),
                ("transaction_id", pa.int64()),
            ]
        ),
    )


def _failed(*batches: pa.Table, expected: int | None = None) -> set[str]:
    audit = Audit(SCORES, Interval(DAY, 1, 10))
    passed_on = list(audit.watch(batches))
    assert len(passed_on) == len(batches)
    count = sum(each.num_rows for each in batches)
    findings = audit.conclude(expected=count if expected is None else expected)
    return {finding.audit for finding in findings if not finding.passed}


def test_sound_rows_pass() -> None:
    later = NOON + timedelta(seconds=1)

    assert _failed(_rows((NOON, "a"), (NOON, "b")), _rows((NOON, "c"), (later, "a"))) == set()
    assert _failed() == set()


def test_rows_that_are_missing_are_found() -> None:
    assert _failed(_rows((NOON, "a")), expected=2) == {"row_count"}


def test_nulls_are_found() -> None:
    assert _failed(_rows((NOON, "a"), score=None)) == {"no_nulls"}


def test_a_key_that_comes_twice_is_found_within_and_across_batches() -> None:
    assert _failed(_rows((NOON, "a"), (NOON, "a"))) == {"unique"}
    assert _failed(_rows((NOON, "a")), _rows((NOON, "a"))) == {"unique"}
    assert _failed(_rows((NOON, "b"), (NOON, "a"))) == {"unique"}


def test_rows_of_other_days_are_found() -> None:
    midnight = datetime(2026, 3, 15, tzinfo=UTC)

    assert _failed(_rows((midnight - timedelta(microseconds=1), "a"))) == set()
    assert _failed(_rows((midnight, "a"))) == {"within_day"}
    assert _failed(_rows((NOON - timedelta(days=1), "a"))) == {"within_day"}


def test_what_fails_the_audit_is_not_committed_and_leaves_no_file(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3, first=10)

    class DoublingAudit(Audit):
        """Sees each batch twice, as if PostgreSQL had sent it so."""

        def watch(self, batches: Any) -> Any:
            return super().watch(each for batch in batches for each in (batch, batch))

    with monkeypatch.context() as patch:
        patch.setattr(batch, "Audit", DoublingAudit)
        with pytest.raises(AuditFailed, match=r"row_count.*unique"):
            move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)

    with lake.open() as catalog:
        table = load_table(catalog, TOOL_CALLS)
        assert len(table.metadata.snapshots) == 1
        assert table.inspect.files().num_rows == 1
    assert move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake).row_count == 3
