"""One trace from the client over gateway, encoder and event to the run that persists it."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanKind
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from prometheus_client.parser import text_string_to_metric_families

from contracts.settings import TelemetrySettings
from contracts.subjects import PipelineSubject
from contracts.tracing.opening import TracingError, open_tracing
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream, stream_script
from tests.support.dagster_runs import Orchestrator
from tests.support.hashing_encoder_engine import HashingEncoderEngine
from tests.support.hashing_encoder_process import EncoderProcess, encoder_process
from tests.support.otlp_receiver import OtlpReceiverDouble, otlp_receiver

ROOT = Path(__file__).parents[2]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT_ID = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-01"
NOT_SAMPLED = f"00-{TRACE_ID}-{PARENT_ID}-00"


@pytest.fixture
def collector() -> Iterator[OtlpReceiverDouble]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def encoder(
    tmp_path: Path, collector: OtlpReceiverDouble, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EncoderProcess]:
    """It is told of the collector by OpenTelemetry's own variable."""
    with monkeypatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with encoder_process(tmp_path / "encoder.log") as process:
            yield process


async def ask(
    client: aiohttp.ClientSession, gateway: RunningGateway, traceparent: str | None, **fields: Any
) -> None:
    headers = {"X-Correlation-ID": "traced"} | ({"traceparent": traceparent} if traceparent else {})
    body = chat_body(messages=[{"role": "user", "content": "How do I request vacation?"}], **fields)
    async with client.post(
        f"{gateway.url}/v1/chat/completions", json=body, headers=headers
    ) as reply:
        assert reply.status == 200
        await reply.read()


async def span_counts(client: aiohttp.ClientSession, gateway: RunningGateway) -> dict[str, float]:
    async with client.get(f"{gateway.url}/metrics") as reply:
        families = text_string_to_metric_families(await reply.text())
    return {
        sample.labels["outcome"]: sample.value
        for family in families
        if family.name == "sluice_trace_spans"
        for sample in family.samples
    }


async def test_one_trace_leads_from_the_client_to_the_run(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    collector: OtlpReceiverDouble,
    encoder: EncoderProcess,
    client: aiohttp.ClientSession,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await asyncio.to_thread(
        ingest, sqlalchemy_url, tmp_path, encoder=HashingEncoderEngine(), attributes={}
    )
    gateway = start_gateway(
        backend_of(upstream),
        nats_url=nats_url,
        database_url=database_url,
        encoder=encoder.settings.model_dump(),
        telemetry={"otlp_endpoint": collector.url},
    )
    upstream.script = stream_script(STREAM)
    await ask(client, gateway, SAMPLED, stream=True)

    (server,) = await asyncio.to_thread(collector.wait_for, 1, name="POST /v1/chat/completions")
    assert (server.trace_id, server.parent_id) == (TRACE_ID, PARENT_ID)
    assert (server.service, server.kind) == ("sluice-gateway", SpanKind.SPAN_KIND_SERVER)
    attributes = server.attributes
    assert attributes["gen_ai.request.model"] == "tiny"
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert attributes["http.response.status_code"] == 200
    assert attributes["sluice.correlation_id"] == "traced"

    children = {span.name: span for span in collector.spans if span.parent_id == server.span_id}
    assert set(children) == {"embed", "retrieve", "rerank", "compose", "chat tiny"}
    for child in children.values():
        assert child.trace_id == TRACE_ID
        assert server.start <= child.start <= child.end <= server.end + 1_000_000
    assert children["chat tiny"].events == ["gen_ai.first_token"]
    assert children["chat tiny"].kind == SpanKind.SPAN_KIND_CLIENT

    # What the backend is told, and the encoder, whose span is its own process'.
    backend_id = children["chat tiny"].span_id
    assert upstream.requests[-1].headers["traceparent"] == f"00-{TRACE_ID}-{backend_id}-01"
    embed = children["embed"]
    encoded = [
        span
        for span in await asyncio.to_thread(collector.wait_for, 1, name="sluice.encoder.v1")
        if span.trace_id == TRACE_ID
    ]
    assert encoded
    assert {(span.service, span.parent_id) for span in encoded} == {
        ("sluice-encoder", embed.span_id)
    }

    events = await wait_for_events(nats_url, "traced")
    (chat,) = events[PipelineSubject.CHAT_PERSIST]
    assert chat.headers["traceparent"] == f"00-{TRACE_ID}-{server.span_id}-01"
    assert chat.event.traceparent == chat.headers["traceparent"]

    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLUICE_TELEMETRY_OTLP_ENDPOINT", collector.url)
    orchestrator = Orchestrator(database_url=database_url, nats_url=nats_url)
    runs = await asyncio.to_thread(orchestrator.drain, "nats_dagster_chat_persist")
    (persisted,) = await asyncio.to_thread(collector.wait_for, 1, name="persist chat_history")
    assert persisted.links == [TRACE_ID]
    assert persisted.trace_id != TRACE_ID
    assert persisted.attributes["dagster.run_id"] in {run.run_id for run in runs}
    assert persisted.attributes["sluice.rows_written"] == 1
    assert persisted.service == "sluice-dagster"


async def test_the_caller_decides_and_of_the_others_a_share_is_traced(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    collector: OtlpReceiverDouble,
    client: aiohttp.ClientSession,
) -> None:
    none = start_gateway(
        backend_of(upstream), telemetry={"otlp_endpoint": collector.url, "trace_ratio": 0}
    )
    for traceparent in (SAMPLED, NOT_SAMPLED, None):
        await ask(client, none, traceparent)
    sent = [request.headers.get("traceparent") for request in upstream.requests[-3:]]
    assert sent[1:] == [NOT_SAMPLED, None]
    async with client.get(f"{none.url}/healthz"):
        pass
    await asyncio.to_thread(none.stop)
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    assert [span.name for span in collector.spans if span.parent_id == PARENT_ID] == [
        "POST /v1/chat/completions"
    ]


async def test_a_failed_call_is_marked(
    start_gateway: StartGateway,
    collector: OtlpReceiverDouble,
    client: aiohttp.ClientSession,
    upstream: ScriptedUpstream,
) -> None:
    gateway = start_gateway(
        backend_of(upstream, url="http://127.0.0.1:1"), telemetry={"otlp_endpoint": collector.url}
    )
    async with client.post(f"{gateway.url}/v1/chat/completions", json=chat_body()) as reply:
        assert reply.status == 502
    await asyncio.to_thread(gateway.stop)
    statuses = {span.name: span.status for span in collector.spans}
    assert statuses["POST /v1/chat/completions"] == Status.STATUS_CODE_ERROR
    assert statuses["chat tiny"] == Status.STATUS_CODE_ERROR


async def test_a_collector_that_hangs_costs_no_request_and_the_loss_is_counted(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    collector: OtlpReceiverDouble,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("contracts.tracing.span_queue._MOST_WAITING", 5)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    collector.stalls.set()
    gateway = start_gateway(backend_of(upstream), telemetry={"otlp_endpoint": collector.url})
    async with asyncio.timeout(60):
        while not (await span_counts(client, gateway))["queue_full"]:
            await ask(client, gateway, None)
    assert (await span_counts(client, gateway))["exported"] == 0
    async with asyncio.timeout(20):
        while not (await span_counts(client, gateway))["export_failed"]:
            await asyncio.sleep(0.1)
    collector.stalls.clear()
    await ask(client, gateway, None)
    async with asyncio.timeout(20):
        while not (await span_counts(client, gateway))["exported"]:
            await asyncio.sleep(0.1)


def test_without_a_collector_opentelemetry_is_not_imported(tmp_path: Path) -> None:
    code = """
import sys
from contracts.settings import Settings
from gateway.app import create_app
from encoder.server import EncoderServer
settings = Settings()
create_app(settings)
EncoderServer(settings.encoder, lambda: None, settings.telemetry)
loaded = [name for name in sys.modules if name.startswith("opentelemetry")]
assert not loaded, loaded
import assets.event_records.record_assets
from assets.event_records.batch_trace import open_batch_trace
assert open_batch_trace("run", "asset") is None
loaded = [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
assert not loaded, loaded
"""
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "SLUICE_DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_another_protocol_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert open_tracing(TelemetrySettings(), "test") is None
    with pytest.raises(TracingError, match="'grpc'; traces are sent by 'http/protobuf'"):
        open_tracing(TelemetrySettings(otlp_endpoint="http://127.0.0.1:1"), "test")
