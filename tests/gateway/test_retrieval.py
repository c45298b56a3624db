"""Passages in the prompt of any model, and the controls of that."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from contracts.subjects import PipelineSubject, TelemetrySubject
from knowledge.hybrid_search import HybridIndex
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream, stream_script

CHAT = "/v1/chat/completions"
QUESTION = "How do I request vacation?"


def ask(**fields: Any) -> dict[str, Any]:
    system = {"role": "system", "content": "Be brief."}
    question = {"role": "user", "content": QUESTION}
    return chat_body(messages=[system, question], **fields)


@pytest.fixture
def grounded(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
) -> RunningGateway:
    """A gateway with documents."""
    ingest(sqlalchemy_url, tmp_path)
    return start_gateway(backend_of(upstream), nats_url=nats_url, database_url=database_url)


async def test_passages_go_into_the_last_user_turn(
    grounded: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    headers = {"X-Correlation-ID": "grounded"}
    body = ask(temperature=0.25)
    async with client.post(grounded.url + CHAT, json=body, headers=headers) as response:
        assert response.status == 200
        answer = await response.json()
        chunk_ids = response.headers["X-Sluice-Sources"].split(",")
        timings = response.headers["Server-Timing"].split(", ")
        assert response.headers["X-Sluice-Retrieval"] == "ok"
    assert [timing.split(";dur=")[0] for timing in timings] == ["search", "compose", "backend"]
    assert "retrieval" not in answer
    sent = upstream.requests[0].json
    assert sent["temperature"] == 0.25
    assert sent["messages"][0] == body["messages"][0]
    assert sent["messages"][1]["content"].startswith(QUESTION)
    assert "Zebrafish" in sent["messages"][1]["content"]
    assert [source["chunk_id"] for source in answer["sources"]] == chunk_ids
    assert answer["sources"][0]["source"] == "docs/handbook.md"
    assert answer["sources"][0]["number"] == 1

    events = await wait_for_events(nats_url, "grounded")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.messages == body["messages"]
    assert chat.source_chunk_ids == chunk_ids
    retrieval = events[PipelineSubject.RETRIEVE][0].event.payload
    assert (retrieval.query, retrieval.method, retrieval.top_k) == (QUESTION, "text", 5)
    assert retrieval.candidates[0].rank == 1
    assert (retrieval.status, retrieval.error) == ("ok", None)
    assert retrieval.candidates[0].text_score > 0
    composition = events[PipelineSubject.COMPOSE][0].event.payload
    assert composition.chunk_ids == chunk_ids
    telemetry = events[TelemetrySubject.RETRIEVE][0].event.payload
    assert telemetry.hit_count == len(answer["sources"]) == len(telemetry.scores)
    assert (telemetry.method, telemetry.status) == ("text", "ok")
    lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
    assert [stage.name for stage in lineage.stages] == ["retrieve", "compose", "backend"]
    offsets = [stage.offset_seconds for stage in lineage.stages]
    assert offsets == sorted(offsets)
    assert set(lineage.event_ids) == {
        events[subject][0].event.event_id
        for subject in (
            PipelineSubject.CHAT_PERSIST,
            PipelineSubject.RETRIEVE,
            PipelineSubject.COMPOSE,
        )
    }


async def test_sources_come_in_the_first_chunk_of_a_stream(
    grounded: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script((b": hello\n\n", *STREAM))
    async with client.post(grounded.url + CHAT, json=ask(stream=True)) as response:
        assert response.headers["X-Sluice-Sources"]
        events = (await response.read()).split(b"\n\n")
    assert events[0] == b": hello"
    first = json.loads(events[1].removeprefix(b"data: "))
    assert first["sources"][0]["title"] == "Handbook"
    assert events[2] + b"\n\n" == STREAM[1]


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"retrieval": {"enabled": False}}, {}),
        ({}, {"X-Sluice-Retrieval": "off"}),
        ({"retrieval": {"enabled": False}}, {"X-Sluice-Retrieval": "on"}),
    ],
)
async def test_retrieval_can_be_turned_off(
    grounded: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    fields: dict[str, Any],
    headers: dict[str, str],
) -> None:
    body = ask(**fields)
    async with client.post(grounded.url + CHAT, json=body, headers=headers) as response:
        assert not {"sources", "retrieval"} & set(await response.json())
        assert "X-Sluice-Sources" not in response.headers
        assert response.headers["X-Sluice-Retrieval"] == "off"
    body.pop("retrieval", None)
    assert upstream.requests[0].json == body


async def test_top_k_and_collection(
    grounded: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    headers = {"X-Sluice-Top-K": "1", "X-Correlation-ID": "one"}
    body = ask()
    body["messages"][1]["content"] = "vacation, expenses and laptops"
    async with client.post(grounded.url + CHAT, json=body, headers=headers) as response:
        assert len((await response.json())["sources"]) == 1
    elsewhere = ask(retrieval={"collection": "empty"})
    headers = {"X-Sluice-Collection": "default", "X-Correlation-ID": "elsewhere"}
    async with client.post(grounded.url + CHAT, json=elsewhere, headers=headers) as response:
        assert "sources" not in await response.json()
    assert "retrieval" not in upstream.requests[1].json
    events = await wait_for_events(nats_url, "elsewhere")
    assert events[PipelineSubject.RETRIEVE][0].event.payload.collection == "empty"
    assert PipelineSubject.COMPOSE not in events


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Sluice-Retrieval", "maybe"),
        ("X-Sluice-Top-K", "0"),
        ("X-Sluice-Top-K", "101"),
        ("X-Sluice-Top-K", "-1"),
        ("X-Sluice-Top-K", "many"),
        ("X-Sluice-Collection", ""),
        ("X-Sluice-Min-Score", "1.01"),
        ("X-Sluice-Min-Score", "-2"),
        ("X-Sluice-Min-Score", "nan"),
        ("X-Sluice-Min-Score", "1e1"),
        ("X-Sluice-Min-Score", ""),
    ],
)
async def test_wrong_headers_are_400(
    gateway: RunningGateway, client: aiohttp.ClientSession, name: str, value: str
) -> None:
    headers = {name: value}
    async with client.post(gateway.url + CHAT, json=ask(), headers=headers) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == name


async def test_a_slow_search_costs_its_time_limit_and_no_more(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(
        backend_of(upstream),
        nats_url=nats_url,
        database_url=database_url,
        retrieval={"timeout_seconds": 0.3},
    )
    headers = {"X-Correlation-ID": "slow"}
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("LOCK TABLE document_chunks IN ACCESS EXCLUSIVE MODE")
        async with client.post(gateway.url + CHAT, json=ask(), headers=headers) as response:
            assert response.status == 200
            assert response.headers["X-Sluice-Retrieval"] == "failed"
            answer = await response.json()
        await other.rollback()
    error = "no result within 0.3 s"
    assert answer["retrieval"] == {"status": "failed", "method": "none", "error": error}
    assert "sources" not in answer
    events = await wait_for_events(nats_url, "slow")
    retrieval = events[PipelineSubject.RETRIEVE][0].event.payload
    assert (retrieval.status, retrieval.error, retrieval.method) == ("failed", error, "none")
    assert (retrieval.query, retrieval.candidates) == (QUESTION, [])
    assert events[TelemetrySubject.RETRIEVE][0].event.payload.status == "failed"
    assert PipelineSubject.COMPOSE not in events
    stages = events[PipelineSubject.FLOW_LINEAGE][0].event.payload.stages
    assert [(stage.name, stage.status) for stage in stages] == [
        ("retrieve", "failed"),
        ("backend", "ok"),
    ]
    assert events[PipelineSubject.CHAT_PERSIST][0].event.payload.status == "completed"
    async with client.get(f"{gateway.url}/metrics") as response:
        text = await response.text()
    assert 'sluice_gateway_search_failures_total{stage="retrieve"} 1.0' in text
    assert 'sluice_gateway_search_failures_total{stage="embed"} 0.0' in text
    await asyncio.sleep(0.1)
    async with client.post(gateway.url + CHAT, json=ask()) as response:
        assert response.headers["X-Sluice-Sources"]


@pytest.mark.parametrize(
    "question", ["vacation \x00 days", "vacation \u2028 '; --", "&|!():*", " "]
)
async def test_any_question_is_survived(
    grounded: RunningGateway, client: aiohttp.ClientSession, question: str
) -> None:
    body = chat_body(messages=[{"role": "user", "content": question}])
    async with client.post(grounded.url + CHAT, json=body) as response:
        assert response.status == 200


async def test_a_defect_of_the_index_does_not_fail_the_request(
    grounded: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(HybridIndex, "search", fail)
    headers = {"X-Correlation-ID": "defect"}
    async with client.post(grounded.url + CHAT, json=ask(), headers=headers) as response:
        assert response.status == 200
        assert (await response.json())["retrieval"]["status"] == "failed"
    assert upstream.requests[0].json == ask()
    events = await wait_for_events(nats_url, "defect")
    stages = events[PipelineSubject.FLOW_LINEAGE][0].event.payload.stages
    assert [stage.status for stage in stages] == ["failed", "ok"]


async def test_an_explicit_wish_without_a_database_is_answered_without_passages(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream))
    headers = {"X-Sluice-Retrieval": "on"}
    async with client.post(gateway.url + CHAT, json=ask(), headers=headers) as response:
        assert response.status == 200
        answer = await response.json()
    assert "sources" not in answer
    assert answer["retrieval"] == {
        "status": "failed",
        "method": "none",
        "error": "the passage index is unavailable",
    }
    assert upstream.requests[0].json == ask()


async def test_a_failed_search_is_told_in_the_first_chunk_of_a_stream(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM)
    gateway = start_gateway(backend_of(upstream))
    headers = {"X-Sluice-Retrieval": "on"}
    body = ask(stream=True)
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        assert response.headers["X-Sluice-Retrieval"] == "failed"
        events = (await response.read()).split(b"\n\n")
    assert json.loads(events[0].removeprefix(b"data: "))["retrieval"]["status"] == "failed"
    assert events[1] + b"\n\n" == STREAM[1]


async def test_nothing_is_injected_where_the_context_is_full(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(
        backend_of(upstream, context_length=1000), nats_url=nats_url, database_url=database_url
    )
    # What fits beside the question does not beside a long answer.
    for max_tokens, is_injected in ((500, True), (960, False)):
        headers = {"X-Correlation-ID": f"room for {max_tokens}"}
        body = ask(max_tokens=max_tokens)
        async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
            assert ("sources" in await response.json()) is is_injected
            assert response.headers["X-Sluice-Retrieval"] == "ok"
        events = await wait_for_events(nats_url, f"room for {max_tokens}")
        assert (PipelineSubject.COMPOSE in events) is is_injected
        lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
        (details,) = [stage.details for stage in lineage.stages if stage.name == "compose"]
        assert details["token_budget"] < 1000 - max_tokens
        assert ("skipped" in details) is not is_injected
    assert upstream.requests[1].json == body


async def test_documents_that_come_later_are_found(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_gateway(backend_of(upstream), database_url=database_url)
    async with client.post(gateway.url + CHAT, json=ask()) as response:
        assert "search" not in response.headers["Server-Timing"]
    ingest(sqlalchemy_url, tmp_path)
    await asyncio.sleep(2.5)
    async with client.post(gateway.url + CHAT, json=ask()) as response:
        assert response.headers["X-Sluice-Sources"]
