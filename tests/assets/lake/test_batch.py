"""Batches: what they move, typed, once, and what they make of transactions that commit late."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sqlalchemy import Column, Text

from assets.lake.batch import (
    BatchLimits,
    BatchOutcome,
    TableIsBusy,
    hold_table,
    move_day,
)
from assets.lake.commits import CommitLost
from assets.lake.extraction import WatermarkAhead
from assets.lake.iceberg_tables import load_table
from assets.lake.intervals import find_unmoved_days
from contracts.lake import LAKE_TABLES, LakeTable
from contracts.tables import tool_calls
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_audit import TOOL_CALLS, assert_same_events, read_table
from tests.support.lake_rows import DAY, insert_everything, insert_rows

TABLES = {table.name: table for table in LAKE_TABLES}

Move = Callable[..., BatchOutcome]


@pytest.fixture
def move(postgres: PostgresResource, lake: LakeResource) -> Move:
    """Moves what is new of a day."""

    def move(
        table: LakeTable = TOOL_CALLS, day: date = DAY, limits: BatchLimits | None = None
    ) -> BatchOutcome:
        return move_day(table, day, postgres=postgres, lake=lake, limits=limits)

    return move


def test_every_table_arrives_typed(database_url: str, lake: LakeResource, move: Move) -> None:
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 20)

    outcomes = {name: move(table) for name, table in TABLES.items()}

    assert {name: outcome.row_count for name, outcome in outcomes.items()} == {
        **dict.fromkeys(TABLES, 20),
        "compose_events": 17,
        "document_chunks": 3,
    }
    pairs = read_table(lake, TABLES["chat_pairs"])
    assert pairs.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    assert pairs["messages"][3].as_py() == [
        {
            "role": "user",
            "content": '[{"text":"3","type":"text"}]',
            "reasoning_content": None,
            "name": None,
            "tool_calls": None,
            "tool_call_id": None,
        },
        {
            "role": "assistant",
            "content": 'line\n"quoted" 3',
            "reasoning_content": None,
            "name": None,
            "tool_calls": None,
            "tool_call_id": None,
        },
    ]
    candidates = read_table(lake, TABLES["retrieve_events"])["candidates"]
    assert candidates[0].as_py() == []
    assert candidates[1][0]["vector_score"].as_py() == 0.75
    assert candidates[1][1]["rank"].as_py() == 2
    stages = read_table(lake, TABLES["flow_lineage"])["stages"]
    assert stages[0][0]["details"].as_py() == '{"hits":2}'
    history = read_table(lake, TABLES["chat_history"])
    assert history["messages"][5].as_py() == '[{"role": "user", "content": "question 5"}]'
    assert history["answer"][0].as_py() is None
    assert history["source_chunk_ids"][1].as_py() == ["00000000-0000-0000-0000-000000000001"]
    chunks = read_table(lake, TABLES["document_chunks"])
    assert "content" not in chunks.column_names
    assert chunks["heading_path"][0].as_py() == ["A", "B"]
    assert len(read_table(lake, TABLES["rerank_scores"])["query_sha256"][0].as_py()) == 64


def test_the_table_is_partitioned_by_day_and_sorted(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 50)
        insert_rows(connection, "tool_calls", 50, day=DAY + timedelta(days=1))

    move()
    move(day=DAY + timedelta(days=1))

    with lake.open() as catalog:
        table = load_table(catalog, TOOL_CALLS)
        assert [str(each) for each in table.spec().fields] == [
            "1000: occurred_at_day: day(3)",
        ]
        assert len(table.sort_order().fields) == 2
        files = table.inspect.files()
        assert files.num_rows == 2
        first_day = table.scan(
            row_filter=f"occurred_at < '{DAY + timedelta(days=1)}T00:00:00+00:00'"
        )
        assert len(list(first_day.plan_files())) == 1
        moments = first_day.to_arrow()["occurred_at"]
    assert moments.to_pylist() == sorted(moments.to_pylist())


def test_a_batch_moves_only_what_is_new(database_url: str, lake: LakeResource, move: Move) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 30)
    first = move()
    again = move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=30)
    second = move()

    assert (first.row_count, again.row_count, second.row_count) == (30, 0, 5)
    assert again.snapshot_id is None
    assert again.snapshot_count == 1
    assert second.interval.low == again.interval.high
    assert_same_events(lake, database_url)


def test_a_day_in_files_of_bounded_size(database_url: str, lake: LakeResource, move: Move) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 80_000)

    outcome = move(limits=BatchLimits(file_bytes=1024 * 1024))

    assert outcome.file_count > 1
    assert outcome.snapshot_count == 1
    assert_same_events(lake, database_url)


def test_a_transaction_that_commits_late_is_not_missed(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    """Later rows are visible before it, and the clock and the sequence are beyond its rows."""
    with psycopg.connect(database_url) as slow, psycopg.connect(database_url) as quick:
        insert_rows(slow, "tool_calls", 10)
        insert_rows(quick, "tool_calls", 20, first=100)
        quick.commit()

        while_open = move()
        slow.commit()
        after = move()

    assert while_open.row_count == 0
    assert after.row_count == 30
    assert_same_events(lake, database_url)


def test_a_transaction_that_was_rolled_back_holds_nothing_up(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 10)
        connection.rollback()
        insert_rows(connection, "tool_calls", 7)

    assert move().row_count == 7
    assert_same_events(lake, database_url)


def test_a_renewed_score_is_moved_again(database_url: str, lake: LakeResource, move: Move) -> None:
    table = TABLES["rerank_scores"]
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "rerank_scores", 3)
    move(table)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE rerank_scores SET score = 9,"
            " transaction_id = pg_current_xact_id()::text::bigint WHERE score = 0.001"
        )

    assert move(table).row_count == 1
    assert sorted(read_table(lake, table)["score"].to_pylist()) == [0.0, 0.001, 0.002, 9.0]


def test_the_days_that_wait_are_found(
    database_url: str, postgres: PostgresResource, move: Move
) -> None:
    other_day = DAY + timedelta(days=3)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 30)
        insert_rows(connection, "tool_calls", 4, day=other_day)

    def unmoved() -> dict[date, int]:
        with postgres.begin() as connection:
            return dict(find_unmoved_days(connection, TOOL_CALLS))

    assert unmoved() == {DAY: 30, other_day: 4}
    move()
    assert unmoved() == {other_day: 4}
    move(day=other_day)
    assert unmoved() == {}
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 2, first=60)
    assert unmoved() == {DAY: 2}


def test_a_column_that_was_added_is_added_to_the_lake(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE tool_calls ADD server text NOT NULL DEFAULT 'local'")
        insert_rows(connection, "tool_calls", 2, first=10)
    widened = tool_calls.to_metadata(type(tool_calls.metadata)())
    widened.append_column(Column("server", Text, nullable=False))

    move(LakeTable(widened, "", source_asset="tool_call_record"))

    assert sorted(map(str, read_table(lake)["server"].to_pylist())) == ["None"] * 3 + ["local"] * 2


def test_a_column_that_was_removed_stays_in_the_lake(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 2, first=10)

    move(
        LakeTable(
            tool_calls, "", source_asset="tool_call_record", left_out=frozenset({"arguments"})
        )
    )

    assert pc.count(read_table(lake)["arguments"]).as_py() == 3
    assert read_table(lake).num_rows == 5


def test_of_two_batches_at_once_one_waits_and_finds_nothing(
    database_url: str, postgres: PostgresResource, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)

    with hold_table(postgres, TOOL_CALLS, 1), pytest.raises(TableIsBusy):
        move(limits=BatchLimits(lock_seconds=0.2))

    assert move().row_count == 3
    assert_same_events(lake, database_url)


def test_a_batch_that_lost_its_lock_cannot_commit_after_another(
    database_url: str, lake: LakeResource, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=10)
    from assets.lake import batch

    commit = batch.commit_files

    def lose_the_lock_first(*arguments: Any) -> int:
        monkeypatch.setattr(batch, "commit_files", commit)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks"
                " WHERE locktype = 'advisory' AND granted"
            )
        assert move().row_count == 5
        return commit(*arguments)

    monkeypatch.setattr(batch, "commit_files", lose_the_lock_first)

    with pytest.raises(CommitLost):
        move()

    assert_same_events(lake, database_url)


def test_a_lake_that_is_made_anew_gets_everything_again(
    database_url: str, postgres: PostgresResource, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with lake.open() as catalog:
        catalog.drop_table(("sluice", "tool_calls"))

    assert move().row_count == 3
    assert_same_events(lake, database_url)


def test_a_database_behind_the_lake_is_refused(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake_watermarks SET high_watermark = high_watermark * 1000000")

    with pytest.raises(WatermarkAhead, match="restored elsewhere"):
        move()
