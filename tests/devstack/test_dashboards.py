"""The dashboards' questions to a real Prometheus that scraped real servers under load.

A gateway, an encoder and `sluice metrics` on a real broker and a real database. Vector's
transforms run in a stand-in; Dagster is not there, nor are its figures.
"""

import asyncio
import os
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import nats
import psycopg
from aiohttp import web
from prometheus_client import start_http_server

from contracts.events import encode_event, new_event
from contracts.metrics.definition import Exposer
from contracts.payloads import EmbeddingTelemetry, RetrievalTelemetry, ToolCallTelemetry
from contracts.settings import Settings
from contracts.subjects import TelemetrySubject
from sluice.pipeline_metrics import PipelineCollector, metrics_registry
from sluice.servers.nats import EmbeddedNats
from tests.encoder.conftest import running_encoder
from tests.gateway.conftest import backend_of, chat_body
from tests.gateway.running_gateway import running_gateway
from tests.gateway.scripted_upstream import (
    STREAM,
    ScriptedUpstream,
    scripted_upstream,
    stream_script,
)
from tests.sluice.test_pipeline_metrics import add_rows
from tests.support.dashboards import dashboards, questions
from tests.support.ports import free_port
from tests.support.prometheus_server import RunningPrometheus, running_prometheus
from tests.support.vector_exporter import telemetry_exporter

PREVIEWS = os.environ.get("DASHBOARD_PREVIEWS")
"""A folder: pictures of the dashboards are drawn there, to be looked at."""
NOT_HERE = {
    ("pipeline", "Vector's own errors"),  # Vector
    ("pipeline", "Runs within an hour"),  # Dagster
}
SECONDS = 14


def targets_are_up(prometheus: RunningPrometheus) -> bool:
    return prometheus.targets() == dict.fromkeys(Exposer, "up")


async def send_load(gateway: str, encoder: str, broker: str, upstream: ScriptedUpstream) -> None:
    """Chat, embed and search for a while; one call in ten fails."""
    connection = await nats.connect(broker)
    whole_answer = upstream.script
    telemetry = (
        (
            TelemetrySubject.RETRIEVE,
            RetrievalTelemetry(top_k=5, hit_count=2, scores=[0.8, 0.4], duration_seconds=0.02),
        ),
        (
            TelemetrySubject.EMBEDDING,
            EmbeddingTelemetry(model="m", input_count=1, dimensions=8, duration_seconds=0.003),
        ),
        (TelemetrySubject.TOOL_CALL, ToolCallTelemetry(function_name="tokei", model="tiny")),
    )
    async with aiohttp.ClientSession() as client:
        until = time.monotonic() + SECONDS
        turn = 0
        while time.monotonic() < until:
            turn += 1
            is_streaming = turn % 2 == 0
            upstream.script = stream_script(STREAM) if is_streaming else whole_answer
            if turn % 10 == 9:
                upstream.script = _fail
            path, body = f"{gateway}/v1/chat/completions", chat_body(stream=is_streaming)
            async with client.post(path, json=body) as response:
                await response.read()
            text = {"inputs": [f"text {turn}"], "prompt_name": "query"}
            async with client.post(f"{encoder}/embed", json=text) as response:
                assert response.status == 200
            for subject, payload in telemetry:
                event = new_event(payload, correlation_id=f"request-{turn}")
                await connection.publish(subject, encode_event(event))
            await asyncio.sleep(0.1)
    await connection.close()


async def _fail(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "out of memory"}}, status=500)


def answers_of(prometheus: RunningPrometheus) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Ask what the panels ask; return (dashboard, panel, PromQL) → series."""
    now = time.time()
    found = {}
    for question in questions():
        if question.source == "prometheus":
            span = {} if question.is_instant else {"start": now - SECONDS, "end": now, "step": 1}
            series = prometheus.query(question.text, **span)
            found[question.dashboard, question.panel, question.text] = series
    return found


def is_number(series: dict[str, Any]) -> bool:
    values = series.get("values") or [series["value"]]
    return any(value != "NaN" for _, value in values)


def watch(folder: Path, addresses: dict[str, str], load: Any) -> dict[str, Any]:
    """Run Prometheus during `load`; return its rules' health and the answers."""
    with running_prometheus(folder, addresses, scrape_seconds=1) as prometheus:
        deadline = time.monotonic() + 60
        while not targets_are_up(prometheus):
            assert time.monotonic() < deadline, prometheus.targets()
            time.sleep(0.3)
        load()
        time.sleep(3)
        return {
            "rules": set(prometheus.rules().values()),
            "answers": answers_of(prometheus),
        }


async def test_every_panel_has_data(
    nats_server: EmbeddedNats, database_url: str, tmp_path: Path
) -> None:
    add_rows(database_url)
    ports = {"telemetry": free_port(), "pipeline": free_port()}
    collector = PipelineCollector.connecting_to(
        nats=nats_server.url("dagster"), postgres=database_url, dagster="http://127.0.0.1:1"
    )
    async with scripted_upstream() as upstream, running_encoder() as encoder:
        settings = Settings(
            backends=(backend_of(upstream),),
            nats={"url": nats_server.url("gateway")},
            postgres={"url": "postgresql://nobody@127.0.0.1:1/none"},
            encoder={"enabled": False},
            data_dir=tmp_path / "gateway",
        )
        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            gateway = stack.enter_context(running_gateway(settings))
            stack.enter_context(
                telemetry_exporter(nats_server.url("telemetry"), ports["telemetry"])
            )
            server, _ = start_http_server(
                ports["pipeline"], "127.0.0.1", metrics_registry(collector)
            )
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            addresses = {
                "gateway": gateway.url.removeprefix("http://"),
                "encoder": encoder.url.removeprefix("http://"),
                **{job: f"127.0.0.1:{port}" for job, port in ports.items()},
            }

            def load() -> None:
                sent = send_load(gateway.url, encoder.url, nats_server.url("admin"), upstream)
                asyncio.run_coroutine_threadsafe(sent, loop).result()

            seen = await asyncio.to_thread(watch, tmp_path, addresses, load)
    if PREVIEWS:
        from tests.support.dashboard_preview import draw_all

        draw_all(seen["answers"], Path(PREVIEWS))
    assert seen["rules"] == {"ok"}
    empty = {
        (dashboard, panel, text)
        for (dashboard, panel, text), series in seen["answers"].items()
        if not any(map(is_number, series)) and (dashboard, panel) not in NOT_HERE
    }
    assert not empty


def _filled_in(sql: str) -> str:
    """Put in what Grafana would: the variables of the dashboard, and its time range."""
    sql = sql.replace("${correlation_id:sqlstring}", "'request-1'")
    return re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN now() - interval '1 day' AND now()", sql)


def test_the_tables_ask_what_the_database_answers(database_url: str) -> None:
    add_rows(database_url)
    variables = [
        each["query"]
        for each in dashboards()["request"]["templating"]["list"]
        if each["name"] == "stored_at"
    ]
    asked = [each.text for each in questions() if each.source_uid == "sluice-postgres"]
    with psycopg.connect(database_url) as connection:
        # All that Grafana's user may do.
        connection.execute("SET ROLE pg_read_all_data")
        found = {
            sql: connection.execute(_filled_in(sql)).fetchall()  # type: ignore[arg-type]
            for sql in (*asked, *variables)
        }
    assert len(found) > 8
    (moments,) = found[variables[0]]
    assert float(moments[0]) > 0
    (calls,) = [rows for sql, rows in found.items() if "is_streaming, duration_seconds" in sql]
    (letters,) = [rows for sql, rows in found.items() if "dead_letter_id AS id" in sql]
    assert (len(calls), len(letters)) == (1, 3)
