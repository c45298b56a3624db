"""Retrieval for Responses clients: the tool `file_search`, and passages nobody asked for."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from knowledge.document_ids import make_document_id
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.responses.conftest import sdk_of
from tests.gateway.scripted_upstream import (
    COMPLETION,
    DONE_EVENT,
    ScriptedUpstream,
    answer_json,
    chunk,
    stream_script,
)

QUESTION = "How do I request vacation?"
ANSWER = "In the Zebrafish portal [1], not elsewhere [9]."
FILE_ID = f"file-{make_document_id('default', 'docs/handbook.md')}"
RULES = """# Rules

Vacation is refused in August.
"""


@pytest.fixture
def documents(sqlalchemy_url: str, tmp_path: Path) -> None:
    ingest(sqlalchemy_url, tmp_path, attributes={"team": "people"})
    ingest(sqlalchemy_url, tmp_path, text=RULES, collection="rules")


@pytest.fixture
async def sdk(
    start_gateway: StartGateway, upstream: ScriptedUpstream, database_url: str, documents: None
) -> AsyncIterator[AsyncOpenAI]:
    async with sdk_of(start_gateway(backend_of(upstream), database_url=database_url)) as client:
        yield client


def answer_with(upstream: ScriptedUpstream, *, is_streaming: bool) -> None:
    if is_streaming:
        parts = (chunk({"content": ANSWER[:20]}), chunk({"content": ANSWER[20:]}))
        upstream.script = stream_script((*parts, chunk({}, finish_reason="stop"), DONE_EVENT))
    else:
        message = {"role": "assistant", "content": ANSWER}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        upstream.script = lambda _: answer_json({**COMPLETION, "choices": [choice]})


def tool(*stores: str, **fields: Any) -> Any:
    return {"type": "file_search", "vector_store_ids": list(stores or ("default",)), **fields}


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_search_is_shown_as_a_call_and_the_answer_cites_it(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    answer_with(upstream, is_streaming=is_streaming)
    fields: Any = {
        "model": "tiny",
        "input": QUESTION,
        "tools": [tool(max_num_results=2)],
        "include": ["file_search_call.results"],
    }
    if is_streaming:
        events = [event async for event in await sdk.responses.create(**fields, stream=True)]
        response: Any = events[-1].response
        assert [event.type for event in events[:10]] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.file_search_call.in_progress",
            "response.file_search_call.searching",
            "response.file_search_call.completed",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
        ]
        [annotated] = [
            event for event in events if event.type == "response.output_text.annotation.added"
        ]
        shown = response.output[1].content[0].annotations[0]
        assert annotated.annotation.to_dict() == shown.to_dict()
    else:
        response = await sdk.responses.create(**fields)
    search, message = response.output
    assert (search.type, search.status, search.queries) == (
        "file_search_call",
        "completed",
        [QUESTION],
    )
    assert 1 <= len(search.results) <= 2
    best = search.results[0]
    assert (best.file_id, best.filename) == (FILE_ID, "docs/handbook.md")
    assert "Zebrafish" in best.text
    assert 0 <= best.score <= 1
    [citation] = message.content[0].annotations
    assert citation.to_dict() == {
        "type": "file_citation",
        "index": ANSWER.index("[1]"),
        "file_id": FILE_ID,
        "filename": "docs/handbook.md",
    }
    assert response.model_extra["sources"][0]["source"] == "docs/handbook.md"
    sent = upstream.requests[-1].json
    assert "Zebrafish" in sent["messages"][0]["content"]
    assert "tools" not in sent


async def test_results_are_shown_only_where_asked_and_history_is_accepted(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    answer_with(upstream, is_streaming=False)
    first: Any = await sdk.responses.create(model="tiny", input=QUESTION, tools=[tool()])
    assert first.output[0].results is None
    second: Any = await sdk.responses.create(
        model="tiny", input=QUESTION, tools=[tool()], previous_response_id=first.id
    )
    assert [item.type for item in second.output] == ["file_search_call", "message"]


async def test_stores_are_collections_and_filters_are_attributes(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    async def found(*stores: str, **fields: Any) -> set[str]:
        response: Any = await sdk.responses.create(
            model="tiny",
            input="vacation",
            tools=[tool(*stores, **fields)],
            include=["file_search_call.results"],
        )
        return {result.file_id for result in response.output[0].results}

    rules = f"file-{make_document_id('rules', 'docs/handbook.md')}"
    assert await found("rules") == {rules}
    assert await found("default", "rules") == {FILE_ID, rules}
    assert await found("unknown") == set()
    is_people = {"type": "eq", "key": "team", "value": "people"}
    assert await found("default", "rules", filters=is_people) == {FILE_ID}
    both = {"type": "and", "filters": [is_people, {"type": "eq", "key": "x", "value": "y"}]}
    assert await found("default", filters=both) == set()
    for filters in ({"type": "gt", "key": "a", "value": 1}, {"type": "or", "filters": []}):
        with pytest.raises(openai.BadRequestError) as failure:
            await found("default", filters=filters)
        assert failure.value.param == "tools[0].filters"


async def test_passages_nobody_asked_for_are_sources_without_a_call(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    answer_with(upstream, is_streaming=False)
    response: Any = await sdk.responses.create(model="tiny", input=QUESTION, store=False)
    assert [item.type for item in response.output] == ["message"]
    assert response.model_extra["sources"][0]["number"] == 1
    assert response.output[0].content[0].annotations[0].file_id == FILE_ID
    plain: Any = await sdk.responses.create(
        model="tiny", input=QUESTION, store=False, extra_body={"retrieval": {"enabled": False}}
    )
    assert "sources" not in (plain.model_extra or {})
    assert plain.output[0].content[0].annotations == []


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_a_search_that_fails_is_a_failed_call_and_not_a_failed_response(
    start_gateway: StartGateway, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    answer_with(upstream, is_streaming=is_streaming)
    async with sdk_of(start_gateway(backend_of(upstream))) as sdk:
        fields: Any = {"model": "tiny", "input": QUESTION, "tools": [tool()], "store": False}
        if is_streaming:
            events = [event async for event in await sdk.responses.create(**fields, stream=True)]
            response: Any = events[-1].response
            assert "response.file_search_call.completed" not in [event.type for event in events]
        else:
            response = await sdk.responses.create(**fields)
    assert response.status == "completed"
    assert (response.output[0].type, response.output[0].status) == ("file_search_call", "failed")
    assert response.output[1].content[0].text == ANSWER
    assert response.model_extra["retrieval"]["status"] == "failed"


async def test_the_built_in_model_answers_with_citations(
    start_gateway: StartGateway, database_url: str, documents: None
) -> None:
    async with sdk_of(start_gateway(database_url=database_url)) as sdk:
        async with sdk.responses.stream(
            model="extractive", input=QUESTION, tools=[tool()]
        ) as stream:
            streamed = await stream.get_final_response()
        whole = await sdk.responses.create(model="extractive", input=QUESTION, tools=[tool()])
    for response in (streamed, whole):
        assert "Zebrafish" in response.output_text
        message: Any = response.output[1]
        assert message.content[0].annotations[0].file_id == FILE_ID


async def test_the_documented_example_runs(
    start_gateway: StartGateway, database_url: str, documents: None
) -> None:
    page = Path(__file__).parents[3] / "docs" / "responses.md"
    [example] = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    gateway = start_gateway(database_url=database_url)
    found: dict[str, Any] = {}
    code = example.replace("http://127.0.0.1:8080", gateway.url)
    await asyncio.to_thread(exec, code, found)
    assert "Zebrafish" in found["first"].output_text
    assert found["second"].previous_response_id == found["first"].id
