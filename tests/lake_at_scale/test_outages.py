"""Nessie and the S3 server taken away in the middle of a batch, and brought back."""

from collections.abc import Iterator

import psycopg
import pytest

from assets.lake.batch import move_day
from resources import nessie, nessie_catalog
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.lake_at_scale.conftest import ScaleServers
from tests.support.dagster_runs import Orchestrator
from tests.support.lake_audit import TOOL_CALLS, moved_ids
from tests.support.lake_outage import (
    assert_one_of_two_batches_moves_the_rows,
    assert_outage_is_survived,
    break_before,
)
from tests.support.lake_rows import DAY, insert_rows

# The first run on a machine fetches the servers.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def servers(scale_servers: ScaleServers) -> Iterator[ScaleServers]:
    """The servers, which run again after the test."""
    yield scale_servers
    scale_servers.s3.start()
    scale_servers.nessie.start()


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        ("S3 killed", "_write_audited"),
        ("S3 killed", "commit_files"),
        ("Nessie killed", "commit_files"),
        ("Nessie hangs", "publish"),
    ],
)
def test_a_server_goes_away_within_a_batch(
    fault: str,
    step: str,
    servers: ScaleServers,
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 3)
    move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=10)
    server, kind = fault.split(" ")
    target = servers.s3 if server == "S3" else servers.nessie
    monkeypatch.setattr(nessie, "_SECONDS", 1.0)
    monkeypatch.setattr(nessie_catalog, "TIMEOUT_SECONDS", 5.0)

    def bring_back() -> None:
        patch.undo()
        target.start()
        monkeypatch.setattr(nessie, "_SECONDS", 30.0)
        assert len(moved_ids(lake)) == 3
        assert len(lake.branches.find_all()) <= 2

    with pytest.MonkeyPatch.context() as patch:
        break_before(step, target.hang if kind == "hangs" else target.kill, patch)
        assert_outage_is_survived(orchestrator, postgres, lake, database_url, bring_back=bring_back)

    assert [branch.name for branch in lake.branches.find_all()] == ["main"]


def test_of_two_batches_at_once_one_moves_the_rows(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    assert_one_of_two_batches_moves_the_rows(postgres, lake, database_url)
    assert [branch.name for branch in lake.branches.find_all()] == ["main"]
