"""The dbt project: what its files say, and what the marts say of a day in the lake."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import yaml
from dagster import AssetKey, DagsterInstance, RunRequest, build_schedule_context

from assets.lake.batch import move_day
from assets.lake.dbt_project import DBT_DIR, read_model_specs
from assets.lake.mart_assets import MARTS_JOB, marts_file
from assets.lake.report_asset import REPORTED_MARTS
from contracts.lake import LAKE_TABLES
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import Orchestrator, definitions
from tests.support.lake_rows import DAY, insert_everything, insert_rows


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path))
    return tmp_path


def test_the_sources_are_the_lakes_tables() -> None:
    (source,) = yaml.safe_load((DBT_DIR / "models" / "sources.yml").read_text())["sources"]

    assert [table["name"] for table in source["tables"]] == [table.name for table in LAKE_TABLES]


def _dbt(tmp_path: Path, command: str, *arguments: str) -> dict[str, Any]:
    """Run the dbt command and return its manifest."""
    subprocess.run(
        [
            Path(sys.executable).with_name("dbt"),
            *(command, "--project-dir", DBT_DIR, "--profiles-dir", DBT_DIR),
            *("--target-path", tmp_path, "--log-path", tmp_path),
            *arguments,
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "SLUICE_DBT_MARTS_FILE": str(tmp_path / "analytics.duckdb")},
    )
    manifest: dict[str, Any] = json.loads((tmp_path / "manifest.json").read_text())
    return manifest


def test_the_specs_are_what_dagster_dbt_makes_of_the_manifest(tmp_path: Path) -> None:
    from dagster_dbt import build_dbt_asset_specs

    manifest = _dbt(tmp_path, "parse")

    theirs = {spec.key: spec for spec in build_dbt_asset_specs(manifest=manifest)}
    ours = {spec.key: spec for spec in read_model_specs()}
    assert set(ours) == set(theirs)
    for key, spec in ours.items():
        assert {dep.asset_key for dep in spec.deps} == {
            dep.asset_key for dep in theirs[key].deps
        }, key
        assert (spec.description or "") in (theirs[key].description or ""), key
    assert {exposure["name"] for exposure in manifest["exposures"].values()} == {
        "lake_report",
        "fine_tuning",
    }
    (report,) = (each for each in manifest["exposures"].values() if each["name"] == "lake_report")
    assert {node.split(".")[-1] for node in report["depends_on"]["nodes"]} == set(REPORTED_MARTS)


def test_the_models_compile_for_trino(tmp_path: Path) -> None:
    """No server is asked: what is compiled parses as Trino's SQL."""
    import sqlglot

    manifest = _dbt(
        tmp_path, "compile", "--target", "trino", "--no-introspect", "--no-populate-cache"
    )

    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    assert len(models) == len(read_model_specs())
    for model in models:
        assert sqlglot.parse_one(model["compiled_code"], read="trino") is not None


def test_the_lineage_leads_from_the_gateway_to_the_marts() -> None:
    graph = definitions().resolve_asset_graph()

    ancestors = graph.get_ancestor_asset_keys(AssetKey(["marts", "knowledge_gaps"]))

    assert {AssetKey("gateway"), AssetKey("retrieve_record")} <= ancestors
    assert AssetKey(["lake", "retrieve_events"]) in ancestors


@pytest.fixture
def marts(
    database_url: str, postgres: PostgresResource, lake: LakeResource, data_dir: Path
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The marts of 200 requests of one day, of which the tables of events have a row each."""
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 200)
        # Two calls of one conversation, as a client sends the whole of it again.
        insert_rows(connection, "tool_calls", 10, day=DAY + timedelta(days=1))
    for table in LAKE_TABLES:
        move_day(table, DAY, postgres=postgres, lake=lake)
    orchestrator = Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", lake=lake)
    result = orchestrator.run(RunRequest(job_name=MARTS_JOB))
    built = {event.asset_key for event in result.get_asset_materialization_events()}
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


def test_the_marts_are_built_when_the_lake_got_rows(
    database_url: str, postgres: PostgresResource, lake: LakeResource, tmp_path: Path
) -> None:
    instance = DagsterInstance.local_temp(str(tmp_path))

    def tick() -> list[RunRequest] | str:
        context = build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC),
            resources={"postgres": postgres},
            repository_def=definitions().get_repository_def(),
        )
        result = definitions().resolve_schedule_def("hourly_marts").evaluate_tick(context)
        return list(result.run_requests or ()) or result.skip_message or ""

    assert tick() == "the lake has no rows"
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 3)
    move_day(LAKE_TABLES[0], DAY, postgres=postgres, lake=lake)
    assert len(tick()) == 1
