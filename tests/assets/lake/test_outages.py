"""PostgreSQL, which has the embedded catalog, or the disk taken away in the middle of a batch."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from assets.lake import batch
from assets.lake.batch import move_day
from assets.lake.findings import AuditFailed, Finding
from contracts.settings import with_psycopg
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.dagster_runs import Orchestrator
from tests.support.lake_audit import TOOL_CALLS, assert_same_events, moved_ids
from tests.support.lake_outage import (
    assert_one_of_two_batches_moves_the_rows,
    assert_outage_is_survived,
    break_before,
)
from tests.support.lake_rows import DAY, insert_rows
from tests.support.ports import free_port
from tests.support.processes import RestartableServer


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[tuple[RestartableServer, str]]:
    """A PostgreSQL server of the test's own, and the URL of its database."""
    server = EmbeddedPostgres(tmp_path / "postgres", free_port(), "secret")
    server.initialise()
    with RestartableServer(server.process(), log=tmp_path / "postgres.log") as running:
        ensure_database(server.url("postgres"), "sluice")
        migrate(with_psycopg(server.url("sluice")))
        yield running, server.url("sluice")


@pytest.mark.parametrize("step", ["_write_audited", "commit_files", "record_watermark"])
def test_postgresql_goes_away_within_a_batch(
    step: str, own_server: tuple[RestartableServer, str], tmp_path: Path
) -> None:
    server, url = own_server
    lake = LakeResource(database_url=url, warehouse=f"file://{tmp_path / 'lake'}")
    postgres = PostgresResource(url=url)
    orchestrator = Orchestrator(database_url=url, nats_url="nats://127.0.0.1:1", lake=lake)
    with psycopg.connect(url) as connection:
        insert_rows(connection, "tool_calls", 30)

    def bring_back() -> None:
        patch.undo()
        server.start()
        assert len(moved_ids(lake)) == (30 if step == "record_watermark" else 0)

    with pytest.MonkeyPatch.context() as patch:
        break_before(step, server.kill, patch)
        assert_outage_is_survived(orchestrator, postgres, lake, url, bring_back=bring_back)


def test_the_disk_goes_away_within_a_batch(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    """What cannot be written is there as nothing at all."""
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=10)
    folder = Path(lake.location.removeprefix("file://"))
    elsewhere = folder.with_name("elsewhere")

    def take_away() -> None:
        if not elsewhere.exists():
            folder.rename(elsewhere)
            folder.write_text("not a folder")

    def bring_back() -> None:
        patch.undo()
        folder.unlink()
        elsewhere.rename(folder)
        assert len(moved_ids(lake)) == 3

    with pytest.MonkeyPatch.context() as patch:
        break_before("_write_audited", take_away, patch)
        assert_outage_is_survived(orchestrator, postgres, lake, database_url, bring_back=bring_back)


def test_of_two_batches_at_once_one_moves_the_rows(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    assert_one_of_two_batches_moves_the_rows(postgres, lake, database_url)


@pytest.mark.parametrize("rows_before", [0, 3])
def test_a_commit_that_fails_its_check_is_taken_back(
    rows_before: int,
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", rows_before)
    move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=10)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "audit_commit", lambda *_: Finding("committed", False, {}))
        with pytest.raises(AuditFailed, match="committed"):
            move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)

    assert len(moved_ids(lake)) == rows_before
    assert move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake).row_count == 5
    assert_same_events(lake, database_url)
