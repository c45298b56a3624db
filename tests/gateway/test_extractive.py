"""The built-in model `extractive`."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from contracts.subjects import PipelineSubject
from gateway.extractive import split_words
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
QUESTION = "Where do receipts for expenses go?"


def ask(**fields: Any) -> dict[str, Any]:
    question = {"role": "user", "content": QUESTION}
    return {"model": "extractive", "messages": [question], **fields}


@pytest.fixture
def extractive(
    start_gateway: StartGateway,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
) -> RunningGateway:
    ingest(sqlalchemy_url, tmp_path)
    return start_gateway(nats_url=nats_url, database_url=database_url)


async def test_answer_quotes_the_passages(
    extractive: RunningGateway, nats_url: str, client: aiohttp.ClientSession
) -> None:
    headers = {"X-Correlation-ID": "quoted"}
    async with client.post(extractive.url + CHAT, json=ask(), headers=headers) as response:
        assert response.status == 200
        answer = await response.json()
        chunk_ids = response.headers["X-Sluice-Sources"].split(",")
    text = answer["choices"][0]["message"]["content"]
    assert "Receipts above forty euros go to the Quokka desk within a month." in text
    assert "No language model" in text
    assert answer["usage"]["is_estimate"] is True
    assert answer["usage"]["total_tokens"] > 0
    assert [source["chunk_id"] for source in answer["sources"]] == chunk_ids
    events = await wait_for_events(nats_url, "quoted")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.model, chat.backend, chat.status) == ("extractive", "extractive", "completed")
    assert chat.usage.is_estimate
    assert chat.source_chunk_ids == chunk_ids
    assert events[PipelineSubject.COMPOSE][0].event.payload.chunk_ids == chunk_ids
    assert len(events[PipelineSubject.RETRIEVE]) == 1


async def test_stream_is_word_by_word_and_says_the_same(
    extractive: RunningGateway, client: aiohttp.ClientSession
) -> None:
    async with client.post(extractive.url + CHAT, json=ask()) as response:
        whole = (await response.json())["choices"][0]["message"]["content"]
    async with client.post(extractive.url + CHAT, json=ask(stream=True)) as response:
        events = (await response.read()).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    assert {part["object"] for part in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[0]["sources"]
    assert "sources" not in chunks[1]
    deltas = [part["choices"][0]["delta"].get("content", "") for part in chunks]
    assert "".join(deltas) == whole
    assert len(deltas) > 20
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_openai_sdk_streams_with_usage(extractive: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{extractive.url}/v1", api_key="x") as sdk:
        models = [model.id async for model in sdk.models.list()]
        assert models == ["extractive"]
        stream = await sdk.chat.completions.create(
            model="extractive",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        parts = [part async for part in stream]
    assert parts[-1].choices == []
    assert parts[-1].usage is not None
    assert parts[-1].usage.completion_tokens > 0


async def test_without_documents_it_says_what_to_do(
    start_gateway: StartGateway, database_url: str, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(database_url=database_url)
    async with client.post(gateway.url + CHAT, json=ask()) as response:
        assert response.status == 200
        answer = await response.json()
    assert "sluice ingest" in answer["choices"][0]["message"]["content"]
    assert "sources" not in answer


async def test_without_a_database_it_is_503_and_a_failed_call(
    start_gateway: StartGateway, nats_url: str, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(nats_url=nats_url)
    headers = {"X-Correlation-ID": "no-database"}
    async with client.post(gateway.url + CHAT, json=ask(), headers=headers) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "search_unavailable"
    events = await wait_for_events(nats_url, "no-database")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer) == ("failed", None)


async def test_retrieval_turned_off_is_400(
    start_gateway: StartGateway, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway()
    body = ask(retrieval={"enabled": False})
    async with client.post(gateway.url + CHAT, json=body) as response:
        assert response.status == 400


async def test_it_is_not_served_where_there_is_a_backend(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream))
    async with client.post(gateway.url + CHAT, json=ask()) as response:
        assert response.status == 404


@pytest.mark.parametrize("text", ["", "a", " a  b\n\nc ", "a\n", "\n", "é ü"])
def test_split_words_loses_nothing(text: str) -> None:
    assert "".join(split_words(text)) == text
