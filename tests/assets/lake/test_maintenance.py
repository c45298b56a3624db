"""What the maintenance merges, expires and deletes, and that no row and no watermark goes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster import RunRequest, TableMetadataValue

from assets.lake.batch import move_day
from assets.lake.iceberg_tables import load_table
from assets.lake.maintenance import MaintenanceLimits, MaintenanceOutcome, maintain
from assets.lake.maintenance_asset import MAINTENANCE_JOB
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.lake_rows import DAY, insert_rows

PAIRS = next(table for table in LAKE_TABLES if table.name == "chat_pairs")
NEXT_DAY = DAY + timedelta(days=1)
AT_ONCE = MaintenanceLimits(snapshot_age=timedelta(0), leftover_age=timedelta(0))


@pytest.fixture
def batches(database_url: str, postgres: PostgresResource, lake: LakeResource) -> None:
    """Six batches of one day and two of the next, ten rows each."""
    for number in range(8):
        day = DAY if number < 6 else NEXT_DAY
        with psycopg.connect(database_url) as connection:
            # From the last hours to the first: the files are not in the rows' order.
            insert_rows(connection, "chat_pairs", 10, day=day, first=1000 - 10 * number)
        move_day(PAIRS, day, postgres=postgres, lake=lake)


def _read(lake: LakeResource) -> pa.Table:
    with lake.open() as catalog:
        return load_table(catalog, PAIRS).scan().to_arrow()


def _maintain(
    postgres: PostgresResource, lake: LakeResource, limits: MaintenanceLimits = AT_ONCE
) -> MaintenanceOutcome:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    outcome = maintain(PAIRS, postgres=postgres, lake=lake, limits=limits, now=soon)
    assert outcome is not None
    return outcome


@pytest.mark.usefixtures("batches")
def test_small_files_of_a_day_become_one_in_order(
    postgres: PostgresResource, lake: LakeResource
) -> None:
    before = _read(lake).sort_by("event_id")

    outcome = _maintain(postgres, lake)

    assert (outcome.files_merged, outcome.files_written) == (6, 1)
    assert (outcome.before.data_files, outcome.after.data_files) == (8, 3)
    assert _read(lake).sort_by("event_id") == before
    with lake.open() as catalog:
        table = load_table(catalog, PAIRS)
        scan = table.scan(row_filter=f"occurred_at < '{NEXT_DAY}T00:00:00+00:00'")
        assert len(list(scan.plan_files())) == 1
        moments = scan.to_arrow()["occurred_at"].to_pylist()
    assert moments == sorted(moments)
    assert len(moments) == 60


@pytest.mark.usefixtures("batches")
def test_expired_snapshots_take_their_files_and_no_watermark_along(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    folder = Path(lake.location.removeprefix("file://"))
    with psycopg.connect(database_url) as connection:
        # As a process leaves it that was killed after its commit.
        connection.execute("DELETE FROM lake_watermarks")

    outcome = _maintain(postgres, lake)

    assert outcome.snapshots_expired == 8
    assert outcome.after.snapshots == 1
    assert len(list(folder.rglob("*.parquet"))) == 3
    assert _read(lake).num_rows == 80
    assert move_day(PAIRS, DAY, postgres=postgres, lake=lake).row_count == 0
    assert move_day(PAIRS, NEXT_DAY, postgres=postgres, lake=lake).row_count == 0


@pytest.mark.usefixtures("batches")
def test_what_a_killed_batch_left_is_deleted_once_it_is_old(
    postgres: PostgresResource, lake: LakeResource
) -> None:
    folder = Path(lake.location.removeprefix("file://"))
    leftover = next(folder.rglob("*.parquet")).with_name("leftover.parquet")
    leftover.write_bytes(b"cut short")
    patient = MaintenanceLimits(least_files=100)

    assert _maintain(postgres, lake, patient).files_deleted == 0
    assert leftover.exists()
    hasty = MaintenanceLimits(least_files=100, leftover_age=timedelta(0))
    assert _maintain(postgres, lake, hasty).bytes_deleted >= 9
    assert not leftover.exists()
    assert _read(lake).num_rows == 80


@pytest.mark.usefixtures("batches")
def test_what_is_to_be_forgotten_is_in_no_file_any_more(
    database_url: str, lake: LakeResource
) -> None:
    folder = Path(lake.location.removeprefix("file://"))
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM chat_pairs WHERE correlation_id = 'request-955'")
        connection.execute(
            "INSERT INTO erasure_requests (erasure_id, subject_kind, subject, row_count)"
            " VALUES (gen_random_uuid(), 'correlation_id', 'request-955', 1)"
        )
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)

    result = orchestrator.run(RunRequest(job_name=MAINTENANCE_JOB))

    (shown,) = result.asset_materializations_for_node("lake_maintenance")
    assert shown.metadata["rows_erased"].value == 1
    assert _read(lake).num_rows == 79
    files = list(folder.rglob("*.parquet"))
    assert files
    for file in files:
        assert "request-955" not in pq.read_table(file)["correlation_id"].to_pylist()
    (noted,) = rows(database_url, "SELECT lake_erased_at FROM erasure_requests")
    assert noted["lake_erased_at"] is not None


@pytest.mark.usefixtures("batches")
def test_the_asset_shows_sizes_and_their_course(database_url: str, lake: LakeResource) -> None:
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)

    first, second = (orchestrator.run(RunRequest(job_name=MAINTENANCE_JOB)) for _ in range(2))

    (shown,) = first.asset_materializations_for_node("lake_maintenance")
    assert shown.metadata["files_merged"].value == 6
    tables = shown.metadata["tables"]
    assert isinstance(tables, TableMetadataValue)
    (row,) = tables.records
    assert row.data["table"] == "chat_pairs"
    assert row.data["data_files"] == "8 → 3"
    (shown,) = second.asset_materializations_for_node("lake_maintenance")
    assert "data:image/png;base64," in str(shown.metadata["size_over_time"].value)
    assert shown.metadata["files_merged"].value == 0
