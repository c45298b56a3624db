"""What a real Trino reads of the lake and makes of it, beside DuckDB and PyIceberg."""

from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
import pytest
from dagster import AssetKey, materialize

from assets.lake.batch import move_day
from assets.lake.dbt_command import marts_file
from assets.lake.iceberg_tables import load_table
from assets.lake.mart_assets import lake_models
from assets.lake.mart_schedule import request_build
from contracts.lake import LAKE_TABLES
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from resources.trino import QueryFailed, QueryRefused, TooManyRows, TrinoResource
from tests.support.dagster_runs import Orchestrator
from tests.support.lake_marts import (
    CHANGED,
    insert_early_events,
    insert_late_events,
    move_everything,
    read_marts,
)
from tests.support.lake_rows import DAY, insert_everything

# The first run on a machine fetches the servers.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def trino(trino_port: int, lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> TrinoResource:
    assert not lake.is_embedded
    monkeypatch.setenv("SLUICE_LAKE_TRINO_URL", f"http://127.0.0.1:{trino_port}")
    return TrinoResource(max_rows=500)


def _move_everything(postgres: PostgresResource, lake: LakeResource) -> None:
    for table in LAKE_TABLES:
        move_day(table, DAY, postgres=postgres, lake=lake)


def test_three_engines_read_the_same(
    database_url: str, postgres: PostgresResource, lake: LakeResource, trino: TrinoResource
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_everything(connection, 200)
    _move_everything(postgres, lake)
    statement = (
        "SELECT count(*) AS calls, count(DISTINCT event_id) AS events, sum(total_tokens) AS tokens,"
        " count(answer) AS answers, min(occurred_at) AS earliest, max(occurred_at) AS latest"
    )

    by_trino = trino.query(f"{statement} FROM sluice.chat_history").to_pylist()

    with lake.open() as catalog:
        history = load_table(catalog, LAKE_TABLES[0]).scan().to_arrow()
    by_duckdb = duckdb.sql(f"{statement} FROM history").to_arrow_table().to_pylist()
    assert by_trino == by_duckdb
    (figures,) = by_trino
    assert (figures["calls"], figures["tokens"]) == (history.num_rows, 30_000)
    nested = trino.query(
        "SELECT sum(cardinality(candidates)) AS n, max(c.vector_score) AS best"
        " FROM sluice.retrieve_events LEFT JOIN UNNEST(candidates)"
        " AS c (chunk_id, rank, vector_score, text_score, fused_score, maxsim_score) ON true"
    )
    assert nested.to_pylist() == [{"n": 171 * 4, "best": 0.75}]


def test_the_marts_built_in_steps_on_trino_are_those_of_duckdb(
    database_url: str,
    postgres: PostgresResource,
    lake: LakeResource,
    trino: TrinoResource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(each: LakeResource) -> None:
        orchestrator = Orchestrator(
            database_url=database_url, nats_url="nats://127.0.0.1:1", lake=each
        )
        result = orchestrator.run(request_build(*CHANGED))
        assert AssetKey("lake_report") in {
            event.asset_key for event in result.get_asset_materialization_events()
        }

    with psycopg.connect(database_url) as connection:
        insert_early_events(connection)
    move_everything(postgres, lake)
    build(lake)
    with psycopg.connect(database_url) as connection:
        insert_late_events(connection)
    move_everything(postgres, lake)
    build(lake)
    by_trino = read_marts(trino.query)
    # DuckDB's tests compare all of them built anew; here it is how Trino replaces a table.
    mart = AssetKey(["marts", "tool_call_daily"])
    anew = materialize(
        [lake_models],
        selection=[mart],
        tags=dict(request_build(*CHANGED).tags),
        run_config={"ops": {"lake_models": {"config": {"full_refresh": True}}}},
        resources={"postgres": postgres, "lake": lake},
    )
    assert {event.asset_key for event in anew.get_asset_materialization_events()} == {mart}
    assert read_marts(trino.query) == by_trino

    monkeypatch.setenv("SLUICE_LAKE_CATALOG", "embedded")
    embedded = LakeResource(database_url=database_url, warehouse=f"file://{tmp_path / 'lake'}")
    move_everything(postgres, embedded)
    build(embedded)

    with duckdb.connect(str(marts_file(load_settings())), read_only=True) as marts:
        by_duckdb = read_marts(lambda statement: marts.execute(statement).to_arrow_table())
    assert by_trino == by_duckdb


def test_queries_only_read_and_within_limits(trino: TrinoResource) -> None:
    assert trino.query("SELECT ? + 1 AS n", [2]).to_pylist() == [{"n": 3}]
    typed = trino.query("SELECT CAST(NULL AS double) AS d, TIMESTAMP '2026-03-14 01:00 UTC' AS t")
    assert typed.schema == pa.schema([("d", pa.float64()), ("t", pa.timestamp("us", tz="UTC"))])
    with pytest.raises(QueryRefused):
        trino.query("DROP SCHEMA sluice")
    with pytest.raises(TooManyRows):
        trino.query("SELECT * FROM UNNEST(sequence(1, 501))")
    with pytest.raises(QueryFailed, match="no_such_schema"):
        trino.query("SELECT * FROM no_such_schema.no_such_table")
    many = "UNNEST(sequence(1, 10000))"
    endless = f"SELECT count(*) FROM {many} CROSS JOIN {many} CROSS JOIN {many}"
    with pytest.raises(QueryFailed, match=r"maximum time limit of 1\.00s"):
        TrinoResource(max_seconds=1).query(endless)
