"""Stored responses over HTTP: what a client may ask for once it was told that one is over."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import psycopg
import pytest
from openai import AsyncOpenAI
from psycopg import sql

from contracts.subjects import PipelineSubject
from tests.conformance.replay import replay
from tests.conformance.turns import FUNCTIONS, PLAIN, TURNS
from tests.gateway.access_keys import make_key
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.responses.conftest import sdk_of
from tests.gateway.scripted_upstream import (
    COMPLETION,
    STREAM,
    ScriptedUpstream,
    answer_json,
    stream_script,
)
from tests.support.database import rows
from tests.support.recorded_answers import VllmRecorder

TOOLS: Any = [
    {"type": "function", "name": name, "parameters": parameters, "strict": True}
    for name, parameters in FUNCTIONS.items()
]


async def create(sdk: AsyncOpenAI, *, is_streaming: bool = False, **fields: Any) -> Any:
    """Return the response; of a stream, the one that its last event carries."""
    fields = {"model": "tiny", **fields}
    if not is_streaming:
        return await sdk.responses.create(**fields)
    stream: Any = await sdk.responses.create(**fields, stream=True)
    return [event async for event in stream][-1].response


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_14_a_response_goes_on_at_once_with_its_tools_and_reasoning(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    turn = TURNS["text-and-calls"]
    upstream.script = replay(VllmRecorder(), turn, PLAIN)
    first = await create(
        stateful,
        is_streaming=is_streaming,
        input="Open the gate.",
        tools=TOOLS,
        instructions="Be brief.",
    )
    outputs: Any = [
        {"type": "function_call_output", "call_id": call.tool_call_id, "output": "done"}
        for call in turn.calls
    ]
    second = await create(
        stateful, is_streaming=is_streaming, input=outputs, previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    third = await create(
        stateful, is_streaming=is_streaming, input="And now?", previous_response_id=second.id
    )
    sent = upstream.requests[-1].json["messages"]
    # Instructions are of one turn only.
    assert [message["role"] for message in sent] == [
        "user", "assistant", "tool", "tool", "assistant", "user",
    ]  # fmt: skip
    assert sent[1]["content"] == turn.text
    assert sent[1]["reasoning_content"] == turn.reasoning
    assert [call["id"] for call in sent[1]["tool_calls"]] == [
        call.tool_call_id for call in turn.calls
    ]
    assert sent[4] == {"role": "assistant", "content": PLAIN.text}
    assert sent[5] == {"role": "user", "content": "And now?"}
    assert (await stateful.responses.retrieve(third.id)).to_dict() == third.to_dict()


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_a_response_is_stored_before_its_client_is_told(
    stateful: AsyncOpenAI,
    upstream: ScriptedUpstream,
    database_url: str,
    is_streaming: bool,
) -> None:
    """Another gateway would find it: it is in the table when the last event arrives."""
    upstream.script = stream_script(STREAM) if is_streaming else upstream.script
    response = await create(stateful, is_streaming=is_streaming, input="Hello")
    [row] = rows(database_url, "SELECT response_id, status, model, api_key_name FROM api_responses")
    assert row == {
        "response_id": response.id,
        "status": "completed",
        "model": "tiny",
        "api_key_name": "",
    }


async def test_retrieve_list_and_delete(stateful: AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    given: Any = [
        {"role": "user", "content": "One."},
        {"type": "message", "role": "assistant", "content": "Two."},
        {"role": "user", "content": [{"type": "input_text", "text": "Three."}]},
    ]
    response = await create(
        stateful, input=given, metadata={"ticket": "7"}, instructions="Be brief."
    )
    found = await stateful.responses.retrieve(response.id)
    assert found.to_dict() == response.to_dict()
    assert found.metadata == {"ticket": "7"}
    assert found.instructions == "Be brief."

    ascending = await stateful.responses.input_items.list(response.id, order="asc")
    items = [item.to_dict() for item in ascending.data]
    assert [item["role"] for item in items] == ["user", "assistant", "user"]
    assert items[0]["content"] == [{"type": "input_text", "text": "One."}]
    assert items[1]["content"] == [{"type": "output_text", "text": "Two.", "annotations": []}]
    assert all(item["type"] == "message" and item["id"].startswith("msg_") for item in items)
    # The SDK follows the pages by itself, newest first unless told otherwise.
    paged = [item.id async for item in stateful.responses.input_items.list(response.id, limit=1)]
    assert paged == [item["id"] for item in reversed(items)]
    page = await stateful.responses.input_items.list(response.id, limit=2, order="asc")
    assert page.has_more
    rest = await stateful.responses.input_items.list(
        response.id, limit=2, order="asc", after=page.data[-1].id
    )
    assert [item.id for item in rest.data] == [items[2]["id"]]
    assert not rest.has_more
    with pytest.raises(openai.BadRequestError):
        await stateful.responses.input_items.list(response.id, limit=0)
    with pytest.raises(openai.BadRequestError):
        await stateful.responses.input_items.list(response.id, after="msg_unknown")

    with pytest.raises(openai.BadRequestError, match="background"):
        await stateful.responses.cancel(response.id)
    with pytest.raises(openai.BadRequestError, match="background"):
        await stateful.responses.retrieve(response.id, stream=True)

    await stateful.responses.delete(response.id)
    for call in (
        stateful.responses.retrieve(response.id),
        stateful.responses.delete(response.id),
        stateful.responses.cancel(response.id),
        stateful.responses.input_items.list(response.id),
    ):
        with pytest.raises(openai.NotFoundError) as failure:
            await call
        assert failure.value.body == {
            "message": f"Response with id '{response.id}' not found.",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_14_an_unknown_previous_response_is_an_error(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream, is_streaming: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as failure:
        await create(
            stateful, is_streaming=is_streaming, input="Hi", previous_response_id="resp_unknown"
        )
    assert failure.value.body == {
        "message": "Previous response with id 'resp_unknown' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    assert upstream.requests == []


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_what_is_not_to_be_stored_is_not(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream, database_url: str, is_streaming: bool
) -> None:
    kept = await create(stateful, input="Hello")
    upstream.script = stream_script(STREAM) if is_streaming else upstream.script
    # Going on from a stored response stores nothing either.
    response = await create(
        stateful,
        is_streaming=is_streaming,
        input="Again",
        store=False,
        previous_response_id=kept.id,
    )
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        await stateful.responses.retrieve(response.id)
    assert [row["response_id"] for row in rows(database_url, "SELECT * FROM api_responses")] == [
        kept.id
    ]
    assert [message["role"] for message in upstream.requests[-1].json["messages"]] == [
        "user", "assistant", "user",
    ]  # fmt: skip


async def test_references_to_stored_items_are_resolved(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    first = await create(stateful, input="Hello")
    given: Any = [
        {"role": "user", "content": "Hello"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "Again"},
    ]
    second = await create(stateful, input=given)
    sent = upstream.requests[-1].json["messages"]
    assert [message["content"] for message in sent] == ["Hello", "Hello.", "Again"]
    items = await stateful.responses.input_items.list(second.id, order="asc")
    assert items.data[1].id == first.output[0].id
    given[1]["id"] = "msg_unknown"
    with pytest.raises(openai.NotFoundError, match="msg_unknown"):
        await create(stateful, input=given)


async def test_a_failed_stream_is_stored_as_failed(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script = stream_script(STREAM[:2], breaks_off=True)
    failed = await create(stateful, is_streaming=True, input="Hello")
    assert failed.status == "failed"
    found = await stateful.responses.retrieve(failed.id)
    assert found.to_dict() == failed.to_dict()
    with pytest.raises(openai.BadRequestError) as failure:
        await create(stateful, input="Go on", previous_response_id=failed.id)
    assert failure.value.code == "previous_response_failed"


async def test_calls_that_were_cut_off_do_not_come_back(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "open_gate", "arguments": '{"ga'}}
    message = {"role": "assistant", "content": "Opening.", "tool_calls": [call]}
    cut = {"index": 0, "message": message, "finish_reason": "length"}
    upstream.script = lambda _: answer_json({**COMPLETION, "choices": [cut]})
    first = await create(stateful, input="Open it.", tools=TOOLS)
    assert first.status == "incomplete"
    await create(stateful, input="Go on.", previous_response_id=first.id)
    assert upstream.requests[-1].json["messages"][1] == {"role": "assistant", "content": "Opening."}


async def test_the_default_can_be_not_to_store(
    start_gateway: StartGateway, upstream: ScriptedUpstream
) -> None:
    gateway = start_gateway(backend_of(upstream), responses={"store": False})
    async with sdk_of(gateway) as sdk:
        assert (await create(sdk, input="Hello")).store is False


async def test_a_database_that_goes_away_fails_the_call_and_not_the_gateway(
    stateful: AsyncOpenAI, upstream: ScriptedUpstream, database_url: str
) -> None:
    """The table is taken away while the model answers."""

    def rename(before: str, after: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                    sql.Identifier(before), sql.Identifier(after)
                )
            )

    async def whole(request: Any) -> Any:
        await asyncio.to_thread(rename, "api_responses", "moved")
        return await answer_json(COMPLETION)

    async def streamed(request: Any) -> Any:
        await asyncio.to_thread(rename, "api_responses", "moved")
        return await stream_script(STREAM)(request)

    upstream.script = whole
    with pytest.raises(openai.InternalServerError) as failure:
        await create(stateful, input="Hello")
    assert (failure.value.status_code, failure.value.code) == (503, "store_unavailable")
    await asyncio.to_thread(rename, "moved", "api_responses")
    upstream.script = streamed
    failed = await create(stateful, is_streaming=True, input="Hello")
    assert failed.status == "failed"
    assert "cannot be stored" in failed.error.message
    await asyncio.to_thread(rename, "moved", "api_responses")
    upstream.script = stream_script(STREAM)
    assert (await create(stateful, is_streaming=True, input="Hello")).status == "completed"


async def test_the_event_of_a_stored_response_goes_to_the_pipeline(
    start_gateway: StartGateway, upstream: ScriptedUpstream, database_url: str, nats_url: str
) -> None:
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url, database_url=database_url)
    async with sdk_of(gateway) as sdk:
        first = await create(sdk, input="Hello", instructions="Be brief.")
        upstream.script = stream_script(STREAM)
        await create(
            sdk,
            is_streaming=True,
            input="Again",
            previous_response_id=first.id,
            extra_headers={"X-Correlation-ID": "second"},
        )
    events = await wait_for_events(nats_url, "second")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.dialect == "openai.responses"
    assert (chat.status, chat.is_streaming) == ("completed", True)
    assert [message["content"] for message in chat.messages] == ["Hello", "Hello.", "Again"]
    assert chat.answer["content"] == "Hello."
    assert chat.usage.total_tokens == 11
    assert json.dumps(chat.parameters)


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_14_what_one_key_stored_is_not_there_for_another(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    database_url: str,
    tmp_path: Path,
    is_streaming: bool,
) -> None:
    key_file = tmp_path / "keys.json"
    keys = [make_key(key_file, name) for name in ("reader", "other")]
    gateway = start_gateway(
        backend_of(upstream), database_url=database_url, gateway={"keys_file": key_file}
    )
    upstream.script = stream_script(STREAM) if is_streaming else upstream.script
    async with sdk_of(gateway, keys[0]) as reader, sdk_of(gateway, keys[1]) as other:
        response = await create(reader, is_streaming=is_streaming, input="Hello")
        assert (await reader.responses.retrieve(response.id)).id == response.id
        for call in (
            other.responses.retrieve(response.id),
            other.responses.input_items.list(response.id),
            other.responses.delete(response.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        with pytest.raises(openai.BadRequestError) as failure:
            await create(other, input="And?", previous_response_id=response.id)
        assert failure.value.code == "previous_response_not_found"
        reference: Any = [{"type": "item_reference", "id": response.output[0].id}]
        with pytest.raises(openai.NotFoundError):
            await create(other, input=reference)
    [row] = rows(database_url, "SELECT api_key_name FROM api_responses")
    assert row["api_key_name"] == "reader"
