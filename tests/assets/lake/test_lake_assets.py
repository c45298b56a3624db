"""The lake's assets and schedule, as the daemon would run them."""

from datetime import timedelta

import psycopg
import pytest
from dagster import AssetKey

from assets.lake.iceberg_tables import load_table
from assets.lake.lake_assets import LAKE_JOB
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import Orchestrator, definitions
from tests.support.lake_outage import tick
from tests.support.lake_rows import DAY, insert_everything, insert_rows

TOOL_CALLS_KEY = AssetKey(["lake", "tool_calls"])


def test_the_schedule_moves_each_day_that_has_something_new(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 10)
        insert_rows(connection, "tool_calls", 4, day=DAY + timedelta(days=1))

    requests = tick(postgres)

    assert not isinstance(requests, str)
    by_day = {request.partition_key: request for request in requests}
    assert set(by_day) == {DAY.isoformat(), (DAY + timedelta(days=1)).isoformat()}
    later = by_day[(DAY + timedelta(days=1)).isoformat()]
    assert later.asset_selection == [TOOL_CALLS_KEY]
    for request in requests:
        job = definitions().resolve_job_def(LAKE_JOB)
        result = job.execute_in_process(
            instance=orchestrator.instance,
            partition_key=request.partition_key,
            resources=orchestrator.resources,
        )
        assert result.success
        assert all(each.passed for each in result.get_asset_check_evaluations())
    with lake.open() as catalog:
        counts = {
            table.name: load_table(catalog, table).scan().to_arrow().num_rows
            for table in LAKE_TABLES
        }
    assert counts == {
        **dict.fromkeys(counts, 10),
        "compose_events": 8,
        "document_chunks": 3,
        "tool_calls": 14,
    }
    assert tick(postgres) == "the lake has every row"


def test_a_failed_audit_fails_the_run_and_says_which(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    """The pipeline cannot leave a null there; a person could."""
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 4)
        connection.execute("ALTER TABLE tool_calls ALTER arguments DROP NOT NULL")
        connection.execute("UPDATE tool_calls SET arguments = NULL WHERE tool_call_id = 'call_2'")

    result = (
        definitions()
        .resolve_job_def(LAKE_JOB)
        .execute_in_process(
            instance=orchestrator.instance,
            partition_key=DAY.isoformat(),
            resources=orchestrator.resources,
            raise_on_error=False,
        )
    )

    assert not result.success
    evaluations = {
        each.check_name: each.passed
        for each in result.get_asset_check_evaluations()
        if each.asset_key == TOOL_CALLS_KEY
    }
    assert evaluations == {
        "row_count": True,
        "no_nulls": False,
        "unique": True,
        "within_day": True,
    }
    materialized = {each.asset_key for each in result.get_asset_materialization_events()}
    assert len(materialized) == len(LAKE_TABLES) - 1
    assert TOOL_CALLS_KEY not in materialized


def test_the_schedule_says_when_the_lake_is_off(
    postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_LAKE_ENABLED", "false")

    assert "off" in str(tick(postgres))
