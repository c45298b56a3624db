"""Batches on branches of a real Nessie, with data files on a real S3 server."""

import subprocess
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, MetaData, Text

from assets.lake import batch
from assets.lake.batch import BatchOutcome, move_day
from assets.lake.commits import CommitLost
from assets.lake.findings import AuditFailed, Finding
from assets.lake.iceberg_tables import load_table, table_exists
from assets.lake.maintenance import MaintenanceLimits, maintain
from contracts.lake import LAKE_TABLES, LakeTable
from contracts.tables import tool_calls
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.lake_at_scale.conftest import ScaleServers
from tests.support.compose_files import read_services
from tests.support.lake_audit import TOOL_CALLS, assert_same_events, read_table
from tests.support.lake_rows import DAY, insert_everything, insert_rows
from tests.support.ports import free_port

# The first run on a machine fetches the servers.
pytestmark = pytest.mark.timeout(1200)

Move = Callable[[], BatchOutcome]


@pytest.fixture
def move(database_url: str, postgres: PostgresResource, lake: LakeResource) -> Move:
    return lambda: move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)


def _branches(lake: LakeResource) -> list[str]:
    return [branch.name for branch in lake.branches.find_all()]


def test_a_batch_is_merged_and_its_branch_goes(
    database_url: str, lake: LakeResource, move: Move
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 30)
    first = move()
    again = move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=30)
    second = move()

    assert (first.row_count, again.row_count, second.row_count) == (30, 0, 5)
    assert _branches(lake) == ["main"]
    assert_same_events(lake, database_url)


def test_the_containers_health_check_sees_a_server_and_misses_one(
    scale_servers: ScaleServers,
) -> None:
    def check(port: int) -> int:
        command = [
            word.replace("/127.0.0.1/9000", f"/127.0.0.1/{port}")
            for word in read_services()["nessie"]["healthcheck"]["test"][1:]
        ]
        return subprocess.run(command, capture_output=True, timeout=30).returncode

    assert check(scale_servers.nessie_management_port) == 0
    assert check(free_port()) != 0
    # An answer, but not that of a health check.
    assert check(scale_servers.s3_port) != 0


def test_every_table_arrives(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 20)

    counts = {
        table.name: move_day(table, DAY, postgres=postgres, lake=lake).row_count
        for table in LAKE_TABLES
    }

    assert counts == {**dict.fromkeys(counts, 20), "compose_events": 17, "document_chunks": 3}
    with lake.open() as catalog:
        assert all(table_exists(catalog, table) for table in LAKE_TABLES)


def test_a_failed_check_leaves_main_and_keeps_the_branch(
    database_url: str, lake: LakeResource, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 4, first=10)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "audit_commit", lambda *_: Finding("committed", False, {}))
        with pytest.raises(AuditFailed, match=r"see branch failed\.tool_calls\."):
            move()

    main, kept = _branches(lake)
    assert main == "main"
    assert read_table(lake).num_rows == 3
    assert read_table(lake, reference=kept).num_rows == 7
    assert [(each.table, each.change) for each in lake.branches.diff(kept)] == [
        ("sluice.tool_calls", "changed")
    ]
    assert move().row_count == 4
    assert_same_events(lake, database_url)


@pytest.mark.parametrize("step", ["publish", "record_watermark"])
def test_a_batch_that_stops_before_and_after_the_merge(
    step: str, database_url: str, lake: LakeResource, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another day's batch in between hides the snapshot that had the interval."""
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)

    class Stopped(BaseException):
        """Stands for the end of the process."""

    def stop(*_: Any, **__: Any) -> None:
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(batch, step, stop)
        with pytest.raises(Stopped):
            move()

    assert move().row_count == (3 if step == "publish" else 0)
    assert _branches(lake) == ["main"]
    assert_same_events(lake, database_url)


def test_of_two_batches_that_both_lost_the_lock_one_is_merged(
    database_url: str, lake: LakeResource, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 4, first=10)
    publish = batch.publish

    def let_another_publish_first(staging: Any, findings: Any) -> None:
        monkeypatch.setattr(batch, "publish", publish)
        with lake.open() as catalog:
            table = load_table(catalog, TOOL_CALLS)
            table.append(table.scan(limit=1).to_arrow())
        publish(staging, findings)

    monkeypatch.setattr(batch, "publish", let_another_publish_first)
    with pytest.raises(CommitLost, match="merged first"):
        move()

    assert read_table(lake).num_rows == 4


def test_small_files_are_merged_and_nothing_is_deleted(
    database_url: str, postgres: PostgresResource, lake: LakeResource, move: Move
) -> None:
    for number in range(4):
        with psycopg.connect(database_url) as connection:
            insert_rows(connection, "tool_calls", 2, first=10 * number)
        move()

    outcome = maintain(TOOL_CALLS, postgres=postgres, lake=lake, limits=MaintenanceLimits())

    assert outcome is not None
    assert (outcome.before.data_files, outcome.after.data_files) == (4, 1)
    assert outcome.files_deleted == 0
    assert_same_events(lake, database_url)
    assert move().row_count == 0


def test_a_column_that_was_added_is_added_to_the_lake(
    database_url: str, postgres: PostgresResource, lake: LakeResource, move: Move
) -> None:
    """On the batch's branch, so that `main` has it with the first rows that do."""
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move()
    with psycopg.connect(database_url) as connection:
        connection.execute("ALTER TABLE tool_calls ADD server text NOT NULL DEFAULT 'local'")
        insert_rows(connection, "tool_calls", 2, first=10)
    widened = tool_calls.to_metadata(MetaData())
    widened.append_column(Column("server", Text, nullable=False))

    move_day(
        LakeTable(widened, "", source_asset="tool_call_record"), DAY, postgres=postgres, lake=lake
    )

    assert sorted(map(str, read_table(lake)["server"].to_pylist())) == ["None"] * 3 + ["local"] * 2
