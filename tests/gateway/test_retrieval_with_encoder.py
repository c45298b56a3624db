"""Retrieval with the encoder, and with one that dies, hangs, is busy or serves another model."""

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream, stream_script
from tests.support.hashing_encoder_engine import HashingEncoderEngine
from tests.support.hashing_encoder_process import EncoderProcess, encoder_process

CHAT = "/v1/chat/completions"
QUESTION = "How do I request vacation?"


@pytest.fixture
def encoder(tmp_path: Path) -> Iterator[EncoderProcess]:
    with encoder_process(tmp_path / "encoder.log") as process:
        yield process


@pytest.fixture
def documents_with_vectors(sqlalchemy_url: str, tmp_path: Path) -> None:
    engine = HashingEncoderEngine()
    ingest(sqlalchemy_url, tmp_path, encoder=engine, attributes={"team": "people"})


@pytest.fixture
def start_grounded(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    documents_with_vectors: None,
) -> StartGateway:
    """Start a gateway with documents that uses the given encoder."""

    def start(encoder: EncoderProcess, **settings: Any) -> RunningGateway:
        return start_gateway(
            backend_of(upstream),
            nats_url=nats_url,
            database_url=database_url,
            encoder={**encoder.settings.model_dump(), **settings},
        )

    return start


async def ask(
    client: aiohttp.ClientSession,
    gateway: RunningGateway,
    correlation_id: str = "",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> tuple[str, Any]:
    """Return the status of retrieval and the answer."""
    body = chat_body(messages=[{"role": "user", "content": QUESTION}], **fields)
    all_headers = {"X-Correlation-ID": correlation_id or "x", **(headers or {})}
    async with client.post(gateway.url + CHAT, json=body, headers=all_headers) as response:
        assert response.status == 200
        return response.headers["X-Sluice-Retrieval"], await response.json()


async def wait_until_whole(client: aiohttp.ClientSession, gateway: RunningGateway) -> None:
    async with asyncio.timeout(10):
        while (await ask(client, gateway))[0] != "ok":
            await asyncio.sleep(0.1)


async def test_every_stage_is_in_events_and_timings(
    start_grounded: StartGateway,
    encoder: EncoderProcess,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_grounded(encoder)
    body = chat_body(messages=[{"role": "user", "content": QUESTION}])
    headers = {"X-Correlation-ID": "whole"}
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        answer = await response.json()
        timings = response.headers["Server-Timing"].split(", ")
        assert response.headers["X-Sluice-Retrieval"] == "ok"
    names = [timing.split(";dur=")[0] for timing in timings]
    assert names == ["embed", "search", "rerank", "compose", "backend"]
    assert all(float(timing.split(";dur=")[1]) >= 0 for timing in timings)
    assert "retrieval" not in answer

    events = await wait_for_events(nats_url, "whole")
    embedding = events[PipelineSubject.EMBEDDING][0].event.payload
    assert (embedding.model, embedding.kind, embedding.input_count) == ("hashing", "query", 1)
    assert (embedding.dimensions, embedding.prompt_tokens) == (256, 6)
    assert events[TelemetrySubject.EMBEDDING][0].event.payload.model == "hashing"
    retrieval = events[PipelineSubject.RETRIEVE][0].event.payload
    assert (retrieval.method, retrieval.status, retrieval.error) == ("hybrid", "ok", None)
    assert (retrieval.embedding_model, retrieval.rerank_model) == ("hashing", "hashing")
    best = retrieval.candidates[0]
    assert None not in (best.text_score, best.vector_score, best.fused_score, best.maxsim_score)
    assert [each.rank for each in retrieval.candidates] == [
        *range(1, len(retrieval.candidates) + 1)
    ]
    assert len(retrieval.candidates) >= len(answer["sources"])
    scores = [source["score"] for source in answer["sources"]]
    assert scores[0] == pytest.approx(best.maxsim_score)
    assert scores == sorted(scores, reverse=True)
    assert events[TelemetrySubject.RETRIEVE][0].event.payload.scores == pytest.approx(scores)
    lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
    stages = {stage.name: stage for stage in lineage.stages}
    assert set(stages) == {"embed", "retrieve", "rerank", "compose", "backend"}
    assert {stage.status for stage in stages.values()} == {"ok"}
    offsets = [stage.offset_seconds for stage in lineage.stages]
    assert offsets == sorted(offsets)
    assert stages["embed"].details == {"model": "hashing"}
    assert stages["retrieve"].details["method"] == "hybrid"
    assert events[PipelineSubject.EMBEDDING][0].event.event_id in lineage.event_ids


async def test_an_encoder_killed_in_mid_request_costs_the_vectors_alone(
    start_grounded: StartGateway,
    upstream: ScriptedUpstream,
    encoder: EncoderProcess,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_grounded(encoder, timeout_seconds=30)
    assert (await ask(client, gateway))[0] == "ok"
    encoder.send(signal.SIGSTOP)
    waiting = asyncio.create_task(ask(client, gateway, "killed"))
    await asyncio.sleep(0.3)
    encoder.kill()
    status, answer = await waiting
    assert status == "degraded"
    assert (answer["retrieval"]["status"], answer["retrieval"]["method"]) == ("degraded", "text")
    assert "encoder" in answer["retrieval"]["error"]
    assert "Zebrafish" in upstream.requests[-1].json["messages"][0]["content"]
    assert answer["sources"][0]["score"] > 0

    events = await wait_for_events(nats_url, "killed")
    retrieval = events[PipelineSubject.RETRIEVE][0].event.payload
    assert (retrieval.status, retrieval.method) == ("degraded", "text")
    assert "encoder" in retrieval.error
    assert retrieval.candidates[0].text_score > 0
    assert events[TelemetrySubject.RETRIEVE][0].event.payload.status == "degraded"
    assert PipelineSubject.EMBEDDING not in events
    lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
    statuses = {stage.name: stage.status for stage in lineage.stages}
    assert statuses == {"embed": "failed", "retrieve": "ok", "compose": "ok", "backend": "ok"}
    assert lineage.status == "completed"
    async with client.get(f"{gateway.url}/metrics") as response:
        text = await response.text()
    assert 'sluice_gateway_search_failures_total{stage="embed"} 1.0' in text

    assert (await ask(client, gateway))[0] == "degraded"
    encoder.start()
    await wait_until_whole(client, gateway)


async def test_an_encoder_that_hangs_is_waited_for_within_the_budget(
    start_grounded: StartGateway,
    upstream: ScriptedUpstream,
    encoder: EncoderProcess,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_grounded(encoder, timeout_seconds=0.2)
    assert (await ask(client, gateway))[0] == "ok"
    encoder.send(signal.SIGSTOP)
    status, answer = await ask(client, gateway)
    assert (status, answer["retrieval"]["method"]) == ("degraded", "text")
    assert "0.2 s" in answer["retrieval"]["error"]
    assert answer["sources"]
    upstream.script = stream_script(STREAM)
    body = chat_body(messages=[{"role": "user", "content": QUESTION}], stream=True)
    async with client.post(gateway.url + CHAT, json=body) as response:
        assert response.headers["X-Sluice-Retrieval"] == "degraded"
        first, second = (await response.read()).split(b"\n\n")[:2]
    chunk = json.loads(first.removeprefix(b"data: "))
    assert chunk["retrieval"]["status"] == "degraded"
    assert chunk["sources"]
    assert b"retrieval" not in second
    encoder.send(signal.SIGCONT)
    upstream.script = ScriptedUpstream().script
    await wait_until_whole(client, gateway)


async def test_an_encoder_that_is_busy_costs_the_vectors_alone(
    start_grounded: StartGateway, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    with encoder_process(tmp_path / "log", queue_tokens=16, seconds_per_batch=0.5) as encoder:
        gateway = start_grounded(encoder, timeout_seconds=1)
        answers = await asyncio.gather(*(ask(client, gateway) for _ in range(6)))
    assert {status for status, _ in answers} >= {"degraded"}
    assert all(answer["sources"] for _, answer in answers)


async def test_vectors_of_another_model_are_not_compared(
    start_grounded: StartGateway, tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    with encoder_process(tmp_path / "log", model_name="another", dimensions=128) as encoder:
        gateway = start_grounded(encoder)
        status, answer = await ask(client, gateway)
    assert (status, answer["retrieval"]["method"]) == ("degraded", "text")
    for part in ("'another'", "128", "'hashing'", "256"):
        assert part in answer["retrieval"]["error"]
    assert answer["sources"]


async def test_min_score_in_body_and_header(
    start_grounded: StartGateway, encoder: EncoderProcess, client: aiohttp.ClientSession
) -> None:
    gateway = start_grounded(encoder)
    high = {"X-Sluice-Min-Score": "0.999"}
    _, answer = await ask(client, gateway)
    found = len(answer["sources"])
    status, answer = await ask(client, gateway, headers=high)
    assert (status, "sources" in answer) == ("ok", False)
    _, answer = await ask(client, gateway, headers=high, retrieval={"min_score": -1})
    assert len(answer["sources"]) == found


@pytest.mark.parametrize(
    ("retrieval", "is_found"),
    [
        ({"sources": ["docs/handbook.md", "docs/other.md"]}, True),
        ({"sources": ["docs/other.md"]}, False),
        ({"sources": []}, True),
        ({"attributes": {"team": "people"}}, True),
        ({"attributes": {"team": "finance"}}, False),
        ({"attributes": {"team": "people", "year": "2026"}}, False),
        ({"collection": "default", "attributes": {"team": "people"}}, True),
    ],
)
async def test_filters(
    start_grounded: StartGateway,
    encoder: EncoderProcess,
    client: aiohttp.ClientSession,
    retrieval: dict[str, Any],
    is_found: bool,
) -> None:
    gateway = start_grounded(encoder)
    status, answer = await ask(client, gateway, retrieval=retrieval)
    assert status == "ok"
    assert ("sources" in answer) is is_found
