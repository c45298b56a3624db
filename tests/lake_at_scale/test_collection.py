"""Which files the maintenance deletes from Nessie's warehouse, and which may still be needed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from dagster import RunRequest

from assets.lake import batch
from assets.lake.batch import move_day
from assets.lake.findings import AuditFailed, Finding
from assets.lake.maintenance import MaintenanceLimits, MaintenanceOutcome, maintain
from assets.lake.maintenance_asset import MAINTENANCE_JOB
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from sluice.cli import main
from tests.lake_at_scale.conftest import ScaleServers
from tests.support.clocks import pass_a_second
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.lake_audit import TOOL_CALLS, assert_same_events, read_table
from tests.support.lake_rows import DAY, insert_rows

# The first run on a machine fetches the servers.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def files(scale_servers: ScaleServers, lake: LakeResource) -> Callable[[], list[Path]]:
    """Finds the data files of the tool calls in the S3 server's folder, but for older tables'."""
    earlier = set(scale_servers.warehouse.rglob("*.parquet"))
    assert not lake.is_embedded
    return lambda: sorted(set(scale_servers.warehouse.rglob("*.parquet")) - earlier)


@pytest.fixture
def move(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> Callable[[int], None]:
    """Inserts rows from a number on, and moves them."""

    def move(first: int) -> None:
        with psycopg.connect(database_url) as connection:
            insert_rows(connection, "tool_calls", 2, first=first)
        move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)

    return move


def _keep_a_failed_batch(move: Callable[[int], None], first: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "audit_commit", lambda *_: Finding("committed", False, {}))
        with pytest.raises(AuditFailed):
            move(first)


def test_files_go_that_no_branch_and_no_moment_leads_to(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    move: Callable[[int], None],
    files: Callable[[], list[Path]],
) -> None:
    for number in range(4):
        move(10 * number)
    _keep_a_failed_batch(move, 90)
    kept = next(each.name for each in lake.branches.find_all() if each.name != "main")
    assert len(files()) == 5

    def collect(limits: MaintenanceLimits) -> MaintenanceOutcome:
        soon = datetime.now(UTC) + timedelta(seconds=1)
        outcome = maintain(TOOL_CALLS, postgres=postgres, lake=lake, limits=limits, now=soon)
        assert outcome is not None
        return outcome

    for_time_travel = collect(MaintenanceLimits(leftover_age=timedelta(0)))
    assert for_time_travel.files_merged == 4
    assert len(files()) == 6
    collect(MaintenanceLimits(leftover_age=timedelta(0), snapshot_age=timedelta(0)))

    # The merged file, and what the failed batch's branch has: its own file and the four before.
    assert len(files()) == 6
    assert read_table(lake, reference=kept).num_rows == 10
    lake.branches.delete(lake.branches.get(kept))
    outcome = collect(MaintenanceLimits(leftover_age=timedelta(0), snapshot_age=timedelta(0)))
    assert len(files()) == 1
    assert outcome.files_deleted >= 5
    assert read_table(lake).num_rows == 8
    move(200)
    assert_same_events(lake, database_url)


def test_what_is_to_be_forgotten_is_in_no_file_any_more(
    database_url: str,
    lake: LakeResource,
    move: Callable[[int], None],
    files: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A branch that still has it keeps the request open, until a person has decided."""
    monkeypatch.setenv("SLUICE_POSTGRES_URL", database_url)
    move(0)
    move(10)
    _keep_a_failed_batch(move, 90)
    kept = next(each.name for each in lake.branches.find_all() if each.name != "main")
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM tool_calls WHERE correlation_id = 'request-1'")
        connection.execute(
            "INSERT INTO erasure_requests (erasure_id, subject_kind, subject, row_count)"
            " VALUES (gen_random_uuid(), 'correlation_id', 'request-1', 1)"
        )
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)

    before = pass_a_second()

    def erase() -> tuple[str, bool]:
        result = orchestrator.run(RunRequest(job_name=MAINTENANCE_JOB))
        (shown,) = result.asset_materializations_for_node("lake_maintenance")
        (noted,) = rows(database_url, "SELECT lake_erased_at FROM erasure_requests")
        return str(shown.metadata["branches_not_erased"].value), noted["lake_erased_at"] is not None

    assert erase() == (kept, False)
    assert read_table(lake).num_rows == 3
    lake.branches.delete(lake.branches.get(kept))
    assert erase() == ("none", True)

    assert files()
    for file in files():
        assert "request-1" not in pq.read_table(file)["correlation_id"].to_pylist()
    shown = CliRunner().invoke(main, ["lake", "at", f"{before:%Y-%m-%dT%H:%M:%S}"])
    assert shown.output.startswith("tool_calls\tgone\t"), shown.output
