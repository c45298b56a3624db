"""How files are written and committed by PyIceberg's parts: what the batch relies on."""

from datetime import date, timedelta

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Transaction

from assets.lake import commits
from assets.lake.batch import BatchLimits, move_day
from assets.lake.commits import QuickTransaction
from assets.lake.iceberg_tables import load_table
from assets.lake.intervals import HIGH_PROPERTY
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_audit import TOOL_CALLS, read_table
from tests.support.lake_rows import DAY, insert_rows


def _move(postgres: PostgresResource, lake: LakeResource, day: date = DAY) -> None:
    # A limit below any batch of rows: a file for each that PostgreSQL sends.
    move_day(TOOL_CALLS, day, postgres=postgres, lake=lake, limits=BatchLimits(file_bytes=1))


def test_files_have_the_day_the_statistics_and_the_field_ids(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 50)

    _move(postgres, lake)

    with lake.open() as catalog:
        table = load_table(catalog, TOOL_CALLS)
        (task,) = table.scan().plan_files()
        moment = table.schema().find_field("occurred_at").field_id
        assert task.file.partition[0] == (DAY - date(1970, 1, 1)).days
        assert f"/occurred_at_day={DAY}/" in task.file.file_path
        assert task.file.record_count == 50
        assert task.file.lower_bounds[moment] < task.file.upper_bounds[moment]
        schema = pq.read_schema(task.file.file_path.removeprefix("file://"))
        assert schema.field("occurred_at").metadata[b"PARQUET:field_id"] == str(moment).encode()
        summary = table.current_snapshot().summary
        assert int(summary["added-records"]) == int(summary["total-records"]) == 50
        assert int(summary["changed-partition-count"]) == 1
        assert HIGH_PROPERTY in summary.additional_properties


def test_memory_follows_the_file_and_not_the_batch(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    """120 MB of rows in files of a megabyte: Arrow never holds half of them."""
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 6_000)
        connection.execute("UPDATE tool_calls SET arguments = repeat(md5(event_id::text), 625)")
    pool = pa.default_memory_pool()
    allocated = pool.bytes_allocated()

    outcome = move_day(
        TOOL_CALLS, DAY, postgres=postgres, lake=lake, limits=BatchLimits(file_bytes=1024**2)
    )

    assert outcome.row_count == 6_000
    assert outcome.file_count >= 10
    assert pool.bytes_allocated() - allocated < 10 * 1024**2
    assert read_table(lake).num_rows == 6_000


def test_a_commit_copies_the_metadata_for_its_changes_alone(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is the commit that PyIceberg's own transaction makes."""
    for number in range(3):
        with psycopg.connect(database_url) as connection:
            insert_rows(connection, "tool_calls", 5, day=DAY + timedelta(days=number))
    copies = 0
    worked_out = Transaction.table_metadata.fget
    assert worked_out is not None

    def count_copies(transaction: Transaction) -> object:
        nonlocal copies
        copies += 1
        return worked_out(transaction)

    monkeypatch.setattr(Transaction, "table_metadata", property(count_copies))
    figures = {}
    for number, kind in enumerate((Transaction, QuickTransaction)):
        copies = 0
        monkeypatch.setattr(commits, "QuickTransaction", kind)
        _move(postgres, lake, DAY + timedelta(days=number))
        figures[kind] = copies

    assert figures[QuickTransaction] <= 3 < figures[Transaction]
    with lake.open() as catalog:
        snapshots = load_table(catalog, TOOL_CALLS).metadata.snapshots
    assert [each.sequence_number for each in snapshots] == [1, 2]
    assert snapshots[1].parent_snapshot_id == snapshots[0].snapshot_id
    assert [each.summary["total-records"] for each in snapshots] == ["5", "10"]
