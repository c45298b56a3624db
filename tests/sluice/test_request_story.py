"""What is found of one request in a real database. Runs are looked for in tests/devstack."""

import psycopg
from click.testing import CliRunner

from contracts.headers import CORRELATION_ID
from resources.postgres import PostgresResource
from sluice.cli import main
from sluice.request_story import find_story

ENVELOPE = "event_id, correlation_id, occurred_at, schema_version, content_capture, stream_sequence"


def add_rows(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            f"INSERT INTO chat_history ({ENVELOPE}, dialect, model, backend, status, is_streaming,"
            " messages, tools, parameters, is_usage_estimate, started_at, duration_seconds,"
            " source_chunk_ids, error) VALUES (gen_random_uuid(), 'request-1', now(), 2, 'full', 1,"
            " 'openai.chat', 'm', 'b', 'failed', false, '[\"secret\"]', '[]', '{}', false, now(),"
            " 1, '{}', 'the backend is away')"
        )
        connection.execute(
            f"INSERT INTO flow_lineage ({ENVELOPE}, dialect, model, backend, status, started_at,"
            " duration_seconds, stages, source_chunk_ids, event_ids) VALUES (gen_random_uuid(),"
            " 'request-1', now() - interval '1 s', 2, 'full', 2, 'openai.chat', 'm', 'b', 'failed',"
            """ now(), 1, '[{"name": "retrieve", "offset_seconds": 0, "duration_seconds": 0.01,"""
            """ "status": "degraded"}, {"name": "backend", "offset_seconds": 0.01,"""
            """ "duration_seconds": 1, "status": "ok"}]', '{}', '{}')"""
        )
        connection.execute(
            "INSERT INTO dead_letters (stream, stream_sequence, published_at, subject, consumer,"
            " headers, body, reason, error) VALUES ('PIPELINE', 3, now() + interval '1 s', 's',"
            " 'c', jsonb_build_object(%s::text, 'request-1'::text), '', 'undecodable', 'no JSON')",
            (CORRELATION_ID,),
        )


def test_a_story_has_events_errors_and_dead_letters_in_order(database_url: str) -> None:
    add_rows(database_url)
    lineage, chat, letter = find_story(PostgresResource(url=database_url), "request-1")
    assert (lineage.what, lineage.error) == ("flow_lineage_record", "retrieve degraded")
    assert lineage.details["stages"] == "retrieve 0.010 s, backend 1.000 s"
    assert (chat.what, chat.error) == ("chat_history", "the backend is away")
    assert "secret" not in str(chat.details)
    assert (letter.what, letter.error) == ("dead letter", "no JSON")
    assert find_story(PostgresResource(url=database_url), "request-2") == []


def test_the_command_works_without_dagster(database_url: str) -> None:
    add_rows(database_url)
    environment = {"DATABASE_URL": database_url, "SLUICE_DAGSTER_PORT": "1", "COLUMNS": "200"}
    result = CliRunner().invoke(main, ["trace", "request-1"], env=environment)
    assert result.exit_code == 0, result.output
    assert "the backend is away" in " ".join(result.output.replace("│", " ").split())
    assert "without runs" in result.output
    result = CliRunner().invoke(main, ["trace", "request-2"], env=environment)
    assert result.exit_code == 1
