"""Dagster's storage with kept connections, on a real PostgreSQL."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from dagster import DagsterInstance, job, op

from sluice.servers.postgres import EmbeddedPostgres
from tests.support.dagster_storage import instance_on, new_storage

_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
_END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
def storage_url(postgres_server: EmbeddedPostgres) -> str:
    return new_storage(postgres_server)


@pytest.fixture
def instance(storage_url: str, tmp_path: Path) -> DagsterInstance:
    return instance_on(storage_url, tmp_path)


@op
def add() -> int:
    return 1


@job
def small_job() -> None:
    add()


def test_a_run_is_kept_and_its_connections_are_few(
    instance: DagsterInstance, storage_url: str
) -> None:
    with psycopg.connect(storage_url, autocommit=True) as connection:
        result = small_job.execute_in_process(instance=instance)
        row = connection.execute(_SESSIONS).fetchone()

    assert instance.get_run_by_id(result.run_id) is not None
    assert row is not None
    assert 2 <= row[0] <= 6


def test_connections_that_died_meanwhile_are_replaced(
    instance: DagsterInstance, storage_url: str
) -> None:
    small_job.execute_in_process(instance=instance)
    with psycopg.connect(storage_url, autocommit=True) as connection:
        connection.execute(_END_ALL)

    result = small_job.execute_in_process(instance=instance)

    assert result.success
    assert len(instance.get_runs()) == 2


def test_the_webservers_connections_that_died_are_replaced(
    instance: DagsterInstance, storage_url: str
) -> None:
    """Its statements keep the limit that it sets, on the new connections too."""
    instance.optimize_for_webserver(statement_timeout=7000, pool_recycle=3600, max_overflow=20)
    _read_of_each(instance)
    with psycopg.connect(storage_url, autocommit=True) as connection:
        connection.execute(_END_ALL)

    _read_of_each(instance)

    storages: list[Any] = [
        instance.run_storage,
        instance.event_log_storage,
        instance.schedule_storage,
    ]
    for storage in storages:
        with storage._engine.connect() as connected:
            assert connected.scalar(sqlalchemy.text("SHOW statement_timeout")) == "7s"


def _read_of_each(instance: DagsterInstance) -> None:
    assert instance.get_runs_count() == 0
    assert not instance.get_asset_keys()
    assert not instance.all_instigator_state()
