"""The purge of Dagster's own storage, on a real one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetKey,
    AssetObservation,
    DagsterInstance,
    DagsterRunStatus,
    MaterializeResult,
    asset,
    materialize,
)

from assets.retention.dagster_runs import PurgedStorage, purge_storage, purged_runs
from contracts.settings import with_psycopg
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.dagster_storage import instance_on, new_storage


@asset(check_specs=[AssetCheckSpec("is_well", asset="thing")])
def thing() -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    return MaterializeResult(
        metadata={"size": 1}, check_results=[AssetCheckResult(passed=True, check_name="is_well")]
    )


@pytest.fixture
def storage_url(postgres_server: EmbeddedPostgres) -> str:
    return new_storage(postgres_server)


@pytest.fixture
def instance(storage_url: str, tmp_path: Path) -> DagsterInstance:
    return instance_on(storage_url, tmp_path)


def _runs(instance: DagsterInstance, count: int) -> list[str]:
    """Materialize the asset `count` times; return the runs' IDs, oldest first."""
    return [materialize([thing], instance=instance).run_id for _ in range(count)]


def _age(storage_url: str, run_id: str, days: int) -> None:
    ended_at = datetime.now(UTC) - timedelta(days=days)
    with psycopg.connect(storage_url) as connection:
        connection.execute(
            "UPDATE runs SET end_time = %s WHERE run_id = %s", [ended_at.timestamp(), run_id]
        )


def _purge(storage_url: str, *, run_days: int = 0, runs_per_job: int = 0) -> PurgedStorage:
    engine = sqlalchemy.create_engine(with_psycopg(storage_url), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return purge_storage(
            connection, run_days=run_days, runs_per_job=runs_per_job, always_kept=1
        )


def _count(storage_url: str, table: str) -> int:
    with psycopg.connect(storage_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def _kept(instance: DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_old_runs_go_with_all_that_belongs_to_them(
    instance: DagsterInstance, storage_url: str
) -> None:
    old, older, young = _runs(instance, 3)
    _age(storage_url, old, days=40)
    _age(storage_url, older, days=31)

    purged = _purge(storage_url, run_days=30)

    assert (purged.runs, purged.check_results) == (2, 2)
    assert purged.run_events > 10
    assert _kept(instance) == {young}
    for table in ("event_logs", "run_tags", "asset_check_executions"):
        with psycopg.connect(storage_url) as connection:
            left = connection.execute(f"SELECT DISTINCT run_id FROM {table}").fetchall()
        assert left in ([(young,)], []), table
    history = instance.fetch_materializations(AssetKey("thing"), limit=10).records
    assert [record.run_id for record in history] == [young]
    assert instance.get_latest_materialization_event(AssetKey("thing")) is not None


def test_the_number_of_runs_of_a_job_is_bounded(
    instance: DagsterInstance, storage_url: str
) -> None:
    run_ids = _runs(instance, 4)

    assert _purge(storage_url, runs_per_job=2).runs == 2
    assert _kept(instance) == set(run_ids[2:])


def test_the_newest_run_of_a_job_and_runs_in_progress_stay_at_any_age(
    instance: DagsterInstance, storage_url: str
) -> None:
    in_progress, newest = _runs(instance, 2)
    with psycopg.connect(storage_url) as connection:
        connection.execute(
            "UPDATE runs SET status = %s WHERE run_id = %s",
            [DagsterRunStatus.STARTED.value, in_progress],
        )
    for run_id in (in_progress, newest):
        _age(storage_url, run_id, days=400)

    assert _purge(storage_url, run_days=1, runs_per_job=1).runs == 0
    assert _kept(instance) == {in_progress, newest}


def test_old_observations_go_and_young_ones_stay(
    instance: DagsterInstance, storage_url: str
) -> None:
    for _ in range(3):
        instance.report_runless_asset_event(AssetObservation("thing"))
    with psycopg.connect(storage_url) as connection:
        connection.execute(
            "UPDATE event_logs SET timestamp = timestamp - interval '40 days'"
            " WHERE id < (SELECT max(id) FROM event_logs)"
        )

    assert _purge(storage_url, run_days=30).observations == 2
    assert len(instance.fetch_observations(AssetKey("thing"), limit=10).records) == 1


def test_without_limits_nothing_is_deleted(instance: DagsterInstance, storage_url: str) -> None:
    for run_id in _runs(instance, 2):
        _age(storage_url, run_id, days=4000)

    assert _purge(storage_url) == PurgedStorage(0, 0, 0, 0)


def test_the_job_purges_the_storage_of_the_settings(
    instance: DagsterInstance, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DAGSTER_POSTGRES_URL", storage_url)
    monkeypatch.setenv("SLUICE_RETENTION_RUN_DAYS", "1")

    result = materialize([purged_runs], instance=instance)

    metadata = result.asset_materializations_for_node("purged_runs")[0].metadata
    assert metadata["runs"].value == 0
    assert _count(storage_url, "runs") == 1
