"""The pipeline's figures for Prometheus, from a real broker and a real database."""

import asyncio
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from contracts.metrics.definition import Exposer
from contracts.metrics.listing import metrics_of
from contracts.subjects import PipelineSubject, TelemetrySubject
from sluice.pipeline_metrics import PipelineCollector, metrics_registry
from sluice.servers.nats import EmbeddedNats
from tests.gateway.gateway_process import environment
from tests.support.events import publish_events, tool_call_event
from tests.support.exposition import check_exposition
from tests.support.ports import free_port
from tests.support.stack import wait_until

NOWHERE = "http://127.0.0.1:1"
OF_DAGSTER = {"sluice_pipeline_runs", "sluice_pipeline_failed_runs"}


@pytest.fixture
def registry(nats_server: EmbeddedNats, database_url: str) -> CollectorRegistry:
    """As Dagster's own user of the broker sees it; there is no Dagster."""
    return metrics_registry(
        PipelineCollector.connecting_to(
            nats=nats_server.url("dagster"), postgres=database_url, dagster=NOWHERE
        )
    )


def publish(nats_url: str) -> None:
    events = [tool_call_event(number) for number in range(3)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, events))
    asyncio.run(publish_events(nats_url, TelemetrySubject.TOOL_CALL, events[:2]))  # type: ignore[arg-type]


def add_rows(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO dead_letters (stream, stream_sequence, published_at, subject, consumer,"
            " headers, body, reason, error) SELECT 'PIPELINE', n, now(), 's', 'c', '{}', '',"
            " 'undecodable', 'e' FROM generate_series(1, 4) n"
        )
        connection.execute("UPDATE dead_letters SET dropped_at = now() WHERE stream_sequence = 1")
        connection.execute(
            "INSERT INTO lake_watermarks (table_name, partition_day, table_uuid, low_watermark,"
            " high_watermark, row_count, recorded_at) VALUES ('chat_history', current_date,"
            " gen_random_uuid(), 0, 9, 17, now() - interval '2 hours'), ('chat_history',"
            " current_date - 1, gen_random_uuid(), 0, 5, 3, now() - interval '1 day')"
        )
        connection.execute(
            "INSERT INTO chat_history (event_id, correlation_id, occurred_at, schema_version,"
            " content_capture, stream_sequence, dialect, model, backend, status, is_streaming,"
            " messages, tools, parameters, is_usage_estimate, started_at, duration_seconds,"
            " source_chunk_ids) VALUES (gen_random_uuid(), 'request-1', now(), 2, 'full', 1,"
            " 'openai.chat', 'm', 'b', 'completed', false, '[]', '[]', '{}', false, now(), 1, '{}')"
        )


def test_figures_of_a_busy_pipeline(
    registry: CollectorRegistry, nats_server: EmbeddedNats, database_url: str
) -> None:
    publish(nats_server.url("admin"))
    add_rows(database_url)
    shown = check_exposition(generate_latest(registry).decode(), Exposer.PIPELINE)
    assert shown == {each.name for each in metrics_of(Exposer.PIPELINE)} - OF_DAGSTER

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"sluice_pipeline_{name}", labels)

    assert value("source_up", source="broker") == value("source_up", source="database") == 1
    assert value("source_up", source="dagster") == 0
    assert value("events_waiting", consumer="knowledge_tool_call") == 3
    assert value("events_waiting", consumer="knowledge_chat_persist") == 0
    assert value("events_waiting", consumer="vector") == 2
    assert 0 < (value("lag_seconds", consumer="knowledge_tool_call") or 0) < 60
    assert value("lag_seconds", consumer="knowledge_chat_persist") == 0
    assert value("stream_events_total", stream="PIPELINE") == 3
    assert value("dead_letters", reason="undecodable") == 3
    assert value("lake_batch_rows", table="chat_history") == 17
    assert value("lake_behind_seconds") == pytest.approx(7200, abs=60)


def test_a_server_that_is_away_is_told_and_its_figures_are_missing(database_url: str) -> None:
    registry = metrics_registry(
        PipelineCollector.connecting_to(
            nats="nats://127.0.0.1:1", postgres=database_url, dagster=NOWHERE
        )
    )
    assert registry.get_sample_value("sluice_pipeline_source_up", {"source": "broker"}) == 0
    assert registry.get_sample_value("sluice_pipeline_source_up", {"source": "database"}) == 1
    assert "sluice_pipeline_lag_seconds" not in generate_latest(registry).decode()
    assert registry.get_sample_value("sluice_pipeline_lake_behind_seconds") == 0


def test_the_command_serves_until_it_is_told_to_stop(
    nats_server: EmbeddedNats, database_url: str, tmp_path: Path
) -> None:
    port = free_port()
    servers = {"NATS_URL": nats_server.url("dagster"), "DATABASE_URL": database_url}
    command = (sys.executable, "-m", "sluice.cli", "metrics", "--port", str(port))
    process = subprocess.Popen(
        [*command, "--dagster", NOWHERE],
        env=environment(tmp_path, **servers),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip().endswith(f":{port}/metrics")
        text = wait_until(
            lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode(),
            seconds=20,
        )
        assert 'sluice_pipeline_source_up{source="broker"} 1.0' in text
    finally:
        process.terminate()
        assert process.wait(20) == 0
