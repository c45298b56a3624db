"""What the marts say of days in the lake, however their rows came."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest
from dagster import AssetKey, materialize

from assets.lake.batch import move_day
from assets.lake.dbt_command import marts_file
from assets.lake.dbt_project import read_check_specs, read_model_specs
from assets.lake.mart_assets import lake_models
from assets.lake.mart_schedule import request_build
from contracts.lake import LAKE_TABLES
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import Orchestrator
from tests.support.lake_marts import (
    CHANGED,
    LONG_AGO,
    insert_early_events,
    insert_late_events,
    move_everything,
    read_marts,
)
from tests.support.lake_rows import DAY, insert_everything, insert_rows

# dbt takes most of it: it is started for each build.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def orchestrator(database_url: str, lake: LakeResource) -> Orchestrator:
    return Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)


def _query(statement: str) -> pa.Table:
    with duckdb.connect(str(marts_file(load_settings())), read_only=True) as connection:
        return connection.execute(statement).to_arrow_table()


@pytest.fixture
def marts(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    orchestrator: Orchestrator,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The marts of 200 requests of one day, of which the tables of events have a row each."""
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 200)
        # Two calls of one conversation, as a client sends the whole of it again.
        insert_rows(connection, "tool_calls", 10, day=DAY + timedelta(days=1))
    for table in LAKE_TABLES:
        move_day(table, DAY, postgres=postgres, lake=lake)
    result = orchestrator.run(request_build(DAY, DAY))
    built = {event.asset_key for event in result.get_asset_materialization_events()}
    assert {
        (check.asset_key, check.check_name) for check in result.get_asset_check_evaluations()
    } == {(check.asset_key, check.name) for check in read_check_specs()}
    assert built == {spec.key for spec in read_model_specs()} | {AssetKey("lake_report")}
    (report,) = result.asset_materializations_for_node("lake_report")
    for name in ("usage_by_hour", "usage_by_day", "retrieval", "scores", "tools_and_stages"):
        assert "data:image/png;base64," in str(report.metadata[name].value)
    with duckdb.connect(str(marts_file(load_settings())), read_only=True) as connection:
        yield connection


def _rows(connection: duckdb.DuckDBPyConnection, statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement).fetchall()


def test_the_marts_say_what_the_events_were(marts: duckdb.DuckDBPyConnection) -> None:
    """One build for all marts: starting dbt is what takes the time."""
    (usage,) = _rows(
        marts,
        "SELECT call_count, failed_count, streaming_count, grounded_count, prompt_tokens,"
        " duration_p50_seconds, duration_max_seconds, first_token_p50_seconds"
        " FROM marts.model_usage_daily",
    )
    assert usage == (200, 10, 100, 200, 20_000, 0.99, 1.49, 0.14)
    assert _rows(marts, "SELECT hour, call_count FROM marts.model_usage_hourly") == [
        (datetime(2026, 3, 14), 200)
    ]

    (quality,) = _rows(
        marts,
        "SELECT method, search_count, hit_search_count, injected_search_count,"
        " answered_search_count, dropped_passage_count, injected_tokens, best_score_p50"
        " FROM marts.retrieval_quality_daily",
    )
    # Of 200, 29 are multiples of 7, which find nothing; 10 of the calls failed.
    assert quality == ("hybrid", 200, 171, 171, 190, 171, 171 * 120, 0.75)
    assert _rows(
        marts,
        "SELECT score_kind, bucket, candidate_count FROM marts.retrieval_score_distribution"
        " ORDER BY score_kind",
    ) == [("fused", 18, 171), ("text", 5, 171), ("vector", 15, 171)]

    assert _rows(
        marts,
        "SELECT function_name, call_count, invalid_argument_count, unfinished_request_count"
        " FROM marts.tool_call_daily ORDER BY function_name",
    ) == [("read_file", 67, 7, 4), ("search", 133, 13, 6)]
    assert _rows(
        marts, "SELECT stage, run_count, not_ok_count FROM marts.stage_latency_daily ORDER BY stage"
    ) == [("backend", 200, 0), ("retrieve", 200, 0)]

    # The pairs have 50 contents; each has an opening of its own.
    assert _rows(
        marts,
        "SELECT count(*), sum(occurrence_count), count_if(is_finished), count_if(has_passages)"
        " FROM marts.training_candidates",
    ) == [(50, 200, 50, 42)]
    assert _rows(
        marts,
        "SELECT count(*), max(turn_count), max(message_count) FROM marts.conversation_threads",
    ) == [(200, 1, 2)]
    assert _rows(
        marts,
        "SELECT count(*), min(question), sum(without_hits_count) FROM marts.knowledge_gaps",
    ) == [(29, "question 0", 29)]


def test_late_events_leave_the_marts_as_a_full_refresh_would(
    database_url: str, postgres: PostgresResource, lake: LakeResource, orchestrator: Orchestrator
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_early_events(connection)
    move_everything(postgres, lake)
    orchestrator.run(request_build(LONG_AGO, CHANGED[1]))
    before = read_marts(_query)
    with psycopg.connect(database_url) as connection:
        insert_late_events(connection)
    move_everything(postgres, lake)
    untouched = f"marts.tool_call_daily SET call_count = call_count {{}} WHERE day = '{LONG_AGO}'"
    with duckdb.connect(str(marts_file(load_settings()))) as connection:
        connection.execute(f"UPDATE {untouched.format('+ 1')}")

    orchestrator.run(request_build(*CHANGED))

    with duckdb.connect(str(marts_file(load_settings()))) as connection:
        connection.execute(f"UPDATE {untouched.format('- 1')}")
    incremental = read_marts(_query)
    refresh = request_build(*CHANGED).with_replaced_attrs(
        run_config={"ops": {"lake_models": {"config": {"full_refresh": True}}}}
    )
    orchestrator.run(refresh)
    assert incremental == read_marts(_query)
    assert {mart for mart, rows in incremental.items() if rows != before[mart]} >= {
        "model_usage_daily",
        "retrieval_quality_daily",
        "tool_call_daily",
        "training_candidates",
        "conversation_threads",
    }


def test_a_failed_test_is_a_failed_check(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 20)
        connection.execute("UPDATE retrieve_events SET status = 'puzzled' WHERE hit_count = 0")
    move_everything(postgres, lake)

    tested, refused, other = (
        AssetKey(path)
        for path in (
            ["staging", "stg_retrievals"],
            ["intermediate", "int_retrievals"],
            ["staging", "stg_tool_calls"],
        )
    )

    result = materialize(
        [lake_models],
        selection=[tested, refused, other],
        partition_key=DAY.isoformat(),
        resources={"postgres": postgres, "lake": lake},
        raise_on_error=False,
    )

    assert not result.success
    (failed,) = (each for each in result.get_asset_check_evaluations() if not each.passed)
    assert failed.asset_key == tested
    assert failed.check_name == "stg_retrievals_status_is_known"
    assert failed.metadata["dagster_dbt/failed_row_count"].value == 1
    # What would be made of the rows that failed is not.
    built = {event.asset_key for event in result.get_asset_materialization_events()}
    assert built == {tested, other}
