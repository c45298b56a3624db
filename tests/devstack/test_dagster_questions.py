"""What is asked of Dagster fits its own schemas: of GraphQL, and of its tables."""

import re

import psycopg
import pytest
from dagster_graphql.schema import create_schema
from dagster_postgres.run_storage import PostgresRunStorage
from graphql import parse, validate

from sluice import pipeline_metrics, request_story
from sluice.databases import ensure_database
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.dashboards import Question, questions

QUESTIONS = [each for each in questions() if each.source_uid == "sluice-dagster"]


@pytest.mark.parametrize("query", [pipeline_metrics._RUNS, request_story._RUN_AROUND])
def test_the_queries_are_those_of_dagsters_schema(query: str) -> None:
    assert validate(create_schema().graphql_schema, parse(query)) == []


def _filled_in(question: Question, stored_at: str) -> str:
    sql = question.text.replace("${stored_at:csv}", stored_at)
    # Grafana's macros give moments in UTC.
    sql = sql.replace("$__timeFrom()", "timezone('utc', now() - interval '1 day')")
    sql = sql.replace("$__timeTo()", "timezone('utc', now())")
    assert not re.search(r"\$\w|\$\{", sql)
    return sql


def test_the_dashboards_tables_are_dagsters(postgres_server: EmbeddedPostgres) -> None:
    # Not the platform's database: Dagster's migrations would find those of another.
    ensure_database(postgres_server.url("postgres"), "dagster")
    database_url = postgres_server.url("dagster")
    PostgresRunStorage(database_url, should_autocreate_tables=True)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO runs (run_id, pipeline_name, status, run_body, start_time, end_time)"
            " VALUES ('r-1', 'knowledge_tool_call', 'FAILURE', '{}', 100, 200),"
            " ('r-2', 'move_to_lake', 'SUCCESS', '{}', 300, 400)"
        )
        # All that Grafana's user may do.
        connection.execute("SET ROLE pg_read_all_data")
        found = {
            (each.dashboard, each.panel): [
                value
                for row in connection.execute(_filled_in(each, "150.5,99"))  # type: ignore[arg-type]
                for value in row
                if value in ("r-1", "r-2")
            ]
            for each in QUESTIONS
        }
        for each in QUESTIONS:
            connection.execute(_filled_in(each, ""))  # type: ignore[arg-type]
    assert found == {
        ("request", "Dagster runs"): ["r-1"],
        ("pipeline", "Runs that failed"): ["r-1"],
        ("lake", "Runs"): ["r-2"],
    }
