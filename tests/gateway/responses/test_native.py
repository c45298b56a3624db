"""`POST /v1/responses` in front of a server that speaks the protocol itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from contracts.subjects import PipelineSubject
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.responses.conftest import sdk_of
from tests.gateway.scripted_upstream import Script, ScriptedUpstream, stream_script

RESPONSES = "/v1/responses"
APIS = ("chat", "responses")
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "open_gate",
    "arguments": "{}",
    "status": "completed",
}


def response_of(number: int, *, status: str = "completed", **fields: Any) -> dict[str, Any]:
    """A response with spaces in its JSON and a field that nobody else has."""
    output = [
        {
            "type": "reasoning",
            "id": f"rs_{number}",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        },
        {
            "type": "message",
            "id": f"msg_{number}",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello.", "annotations": []}],
        },
    ]
    return {
        "id": f"resp_native{number}",
        "object": "response",
        "created_at": 7,
        "status": status,
        "model": "tiny",
        "output": output,
        "previous_response_id": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "kv_transfer_params": {"of": "this server alone"},
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 11,
        },
        **fields,
    }


def events_of(number: int) -> list[bytes]:
    begun = response_of(number, status="in_progress", output=[], usage=None)
    delta = {"item_id": f"msg_{number}", "output_index": 1, "content_index": 0, "delta": "Hello."}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_text.delta", "logprobs": [], **delta},
        {"type": "response.completed", "response": response_of(number)},
    ]
    return [
        f"event: {event['type']}\ndata: {json.dumps({'sequence_number': n, **event})}\n\n".encode()
        for n, event in enumerate(events)
    ]


def native_script(**fields: Any) -> Script:
    """Answer each request with the next response, as it was asked for."""
    numbers = iter(range(1, 100))

    async def script(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        number = next(numbers)
        if asked.get("stream"):
            return await stream_script(events_of(number))(request)
        return web.json_response(response_of(number, **fields))

    return script


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_the_clients_own_bytes_go_through_and_the_servers_come_back(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    is_streaming: bool,
) -> None:
    gateway = start_gateway(backend_of(upstream, apis=APIS))
    upstream.responses_script = native_script()
    body = json.dumps(
        {"model": "tiny", "input": "Hi", "store": False, "stream": is_streaming, "odd": [1, 2]},
        indent=1,
    ).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
    async with client.post(gateway.url + RESPONSES, data=body, headers=headers) as response:
        received = await response.read()
    assert upstream.requests[-1].body == body
    assert "Authorization" not in upstream.requests[-1].headers
    if is_streaming:
        assert received == b"".join(events_of(1))
    else:
        assert received == json.dumps(response_of(1)).encode()


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_behaviour_14_the_gateway_keeps_the_state_of_a_server_that_has_none(
    start_gateway: StartGateway, upstream: ScriptedUpstream, database_url: str, is_streaming: bool
) -> None:
    gateway = start_gateway(backend_of(upstream, apis=APIS), database_url=database_url)
    upstream.responses_script = native_script()
    async with sdk_of(gateway) as sdk:

        async def create(**fields: Any) -> Any:
            if not is_streaming:
                return await sdk.responses.create(model="tiny", **fields)
            stream = await sdk.responses.create(model="tiny", **fields, stream=True)
            events: list[Any] = [event async for event in stream]
            assert events[0].response.previous_response_id == fields.get("previous_response_id")
            return events[-1].response

        first = await create(input="One.")
        assert (await sdk.responses.retrieve(first.id)).to_dict() == first.to_dict()
        second = await create(input="Two.", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        sent = upstream.requests[-1].json
        assert "previous_response_id" not in sent
        assert [item["type"] for item in sent["input"]] == [
            "message", "reasoning", "message", "message",
        ]  # fmt: skip
        assert sent["input"][0]["content"] == [{"type": "input_text", "text": "One."}]
        assert sent["input"][3]["content"] == "Two."
        third = await create(
            input=[{"type": "item_reference", "id": "msg_2"}, {"role": "user", "content": "3"}]
        )
        assert upstream.requests[-1].json["input"][0]["id"] == "msg_2"
        # What one server began goes on with any other.
        upstream.responses_script = None
        for backend in (backend_of(upstream, apis=("chat",)),):
            other = start_gateway(backend, database_url=database_url)
            async with sdk_of(other) as elsewhere:
                last = await elsewhere.responses.create(
                    model="tiny", input="Four.", previous_response_id=third.id
                )
        assert last.output_text == "Hello."
        messages = upstream.requests[-1].json["messages"]
        assert [message["role"] for message in messages] == [
            "assistant", "user", "assistant", "user",
        ]  # fmt: skip
        assert messages[2]["reasoning_content"] == "Hm."


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_the_event_says_what_the_server_answered(
    start_gateway: StartGateway, upstream: ScriptedUpstream, nats_url: str, is_streaming: bool
) -> None:
    gateway = start_gateway(backend_of(upstream, apis=APIS), nats_url=nats_url)
    fields = {} if is_streaming else {"output": [*response_of(1)["output"], CALL]}
    upstream.responses_script = native_script(**fields)
    async with sdk_of(gateway) as sdk:
        answer: Any = await sdk.responses.create(
            model="tiny",
            input="Hi",
            store=False,
            stream=is_streaming,
            extra_headers={"X-Correlation-ID": "native"},
        )
        if is_streaming:
            assert [event async for event in answer]
    events = await wait_for_events(nats_url, "native")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.dialect, chat.status) == ("openai.responses", "completed")
    assert chat.messages == [{"role": "user", "content": "Hi"}]
    assert (chat.answer["content"], chat.answer["reasoning_content"]) == ("Hello.", "Hm.")
    assert chat.finish_reason == ("stop" if is_streaming else "tool_calls")
    assert (chat.usage.prompt_tokens, chat.usage.total_tokens) == (9, 11)
    if not is_streaming:
        call = events[PipelineSubject.TOOL_CALL][0].event.payload
        assert (call.tool_call_id, call.function_name) == ("call_1", "open_gate")


@pytest.mark.parametrize("is_streaming", [False, True])
async def test_passages_go_into_the_last_message(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    is_streaming: bool,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(backend_of(upstream, apis=APIS), database_url=database_url)
    upstream.responses_script = native_script()
    async with sdk_of(gateway) as sdk:
        question = "How do I request vacation?"
        answer: Any = await sdk.responses.create(
            model="tiny", input=question, stream=is_streaming, extra_body={"retrieval": {}}
        )
        if is_streaming:
            answer = [event async for event in answer][-1].response
        assert answer.model_extra["sources"][0]["source"] == "docs/handbook.md"
        sent = upstream.requests[-1].json
        assert "retrieval" not in sent
        asked, context = sent["input"][-1]["content"]
        assert asked == {"type": "input_text", "text": question}
        assert "Zebrafish" in context["text"]
        # A search that is shown as a call is the gateway's, so the answer is translated.
        tools: Any = [{"type": "file_search", "vector_store_ids": ["default"]}]
        searched = await sdk.responses.create(model="tiny", input=question, tools=tools)
        assert [item.type for item in searched.output] == ["file_search_call", "message"]
        assert "messages" in upstream.requests[-1].json


@pytest.mark.parametrize("has_begun", [False, True])
async def test_behaviour_11_a_stream_that_breaks_off_ends_with_an_event(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    has_begun: bool,
) -> None:
    gateway = start_gateway(backend_of(upstream, apis=APIS))
    parts = events_of(1)[:3] if has_begun else [b": keep-alive\n\n"]
    upstream.responses_script = stream_script(parts, breaks_off=True)
    body = {"model": "tiny", "input": "Hi", "store": False, "stream": True}
    async with client.post(gateway.url + RESPONSES, json=body) as response:
        received = await response.read()
    last = received.removesuffix(b"\n\n").split(b"\n\n")[-1]
    name, data = last.split(b"\n")
    event = json.loads(data.removeprefix(b"data: "))
    if has_begun:
        assert name == b"event: response.failed"
        assert event["sequence_number"] == 3
        assert event["response"]["id"] == "resp_native1"
        assert event["response"]["status"] == "failed"
        assert "broke off" in event["response"]["error"]["message"]
    else:
        assert name == b"event: error"
        assert (event["type"], event["code"]) == ("error", "backend_broken")


async def test_behaviour_01_a_disconnect_closes_the_upstream_request(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, apis=APIS))
    upstream.responses_script = stream_script(events_of(1)[:3], wait_at_end=True)
    body = {"model": "tiny", "input": "Hi", "store": False, "stream": True}
    async with asyncio.timeout(20):
        response = await client.post(gateway.url + RESPONSES, json=body)
        received = b""
        while b"Hello." not in received:
            received += await response.content.readany()
        response.close()
        await upstream.was_cut.wait()
