"""`POST /v1/messages` over a backend that speaks chat completions, not streamed."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import pytest
from aiohttp import web

from contracts.event_ids import new_event_id
from contracts.subjects import PipelineSubject, TelemetrySubject
from gateway.chat.call import ChatCall
from tests.gateway.access_keys import make_key
from tests.gateway.anthropic_stream import MESSAGES, message_body
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.support.ports import free_port

TOOL: dict[str, Any] = {
    "name": "add",
    "description": "Adds numbers.",
    "input_schema": {"type": "object", "properties": {"x": {"type": "number"}}},
}


def sdk_of(gateway: RunningGateway) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=gateway.url, api_key="sk-client", max_retries=0)


def completion(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", **choice, "message": message}
    return {**COMPLETION, "choices": [choice]}


async def read_error(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/json"
    envelope = await response.json()
    assert set(envelope) == {"type", "error", "request_id"}
    assert envelope["type"] == "error"
    assert envelope["request_id"] == response.headers["request-id"]
    error: dict[str, Any] = envelope["error"]
    assert set(error) == {"type", "message"}
    return error


async def test_sdk_reads_the_answer(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    async with sdk_of(gateway) as sdk:
        message = await sdk.messages.create(
            model="tiny",
            max_tokens=16,
            system="Be brief.",
            messages=[{"role": "user", "content": "Say hello"}],
        )
    assert message.content == [anthropic.types.TextBlock(type="text", text="Hello.")]
    assert (message.stop_reason, message.model, message.role) == ("end_turn", "tiny", "assistant")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 2)
    assert message._request_id
    assert upstream.requests[0].path == "/v1/chat/completions"
    assert upstream.requests[0].json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello"},
    ]


async def test_sdk_runs_a_tool(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    """A call, its result, the answer: the reasoning before the call comes back to the backend."""
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}}
    ]
    asking = {"role": "assistant", "content": None, "reasoning": "Hm.", "tool_calls": calls}
    answers = [completion(asking, finish_reason="tool_calls"), COMPLETION]

    async def script(_request: web.Request) -> web.StreamResponse:
        return await answer_json(answers[len(upstream.requests) - 1])

    upstream.script = script
    messages: list[Any] = [{"role": "user", "content": "add"}]
    headers = {"X-Correlation-ID": "tools"}
    async with sdk_of(gateway) as sdk:
        call = await sdk.messages.create(
            model="tiny", max_tokens=16, messages=messages, tools=[TOOL], extra_headers=headers
        )
        assert call.stop_reason == "tool_use"
        thinking, use = call.content
        assert isinstance(thinking, anthropic.types.ThinkingBlock)
        assert isinstance(use, anthropic.types.ToolUseBlock)
        assert (use.id, use.name, use.input) == ("call_a", "add", {"x": 1})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "2"}
        messages += [call.to_param(), {"role": "user", "content": [result]}]
        answer = await sdk.messages.create(
            model="tiny", max_tokens=16, messages=messages, tools=[TOOL]
        )
    assert answer.stop_reason == "end_turn"
    sent = upstream.requests[1].json["messages"]
    assert sent[1]["reasoning_content"] == "Hm."
    assert sent[1]["tool_calls"] == calls
    assert sent[2] == {"role": "tool", "tool_call_id": "call_a", "content": "2"}
    events = await wait_for_events(nats_url, "tools")
    (called,) = events[PipelineSubject.TOOL_CALL]
    assert (called.event.payload.tool_call_id, called.event.payload.arguments) == (
        "call_a",
        '{"x":1}',
    )
    assert len(events[TelemetrySubject.TOOL_CALL]) == 1


async def test_events_of_an_answered_call(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    usage = {**COMPLETION["usage"], "prompt_tokens_details": {"cached_tokens": 4}}
    upstream.script = lambda _request: answer_json({**COMPLETION, "usage": usage})
    headers = {"X-Correlation-ID": "call-1"}
    body = message_body(system="Be brief.", temperature=0.5, tools=[TOOL])
    async with client.post(gateway.url + MESSAGES, json=body, headers=headers) as response:
        assert response.headers["request-id"] == response.headers["X-Correlation-ID"] == "call-1"
        assert (await response.json())["usage"] == {
            "input_tokens": 5,
            "cache_read_input_tokens": 4,
            "output_tokens": 2,
        }
    events = await wait_for_events(nats_url, "call-1")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.dialect, chat.status, chat.finish_reason) == (
        "anthropic.messages",
        "completed",
        "stop",
    )
    assert chat.messages == [{"role": "system", "content": "Be brief."}, *body["messages"]]
    assert chat.answer == {"role": "assistant", "content": "Hello."}
    assert chat.parameters == {"temperature": 0.5, "max_tokens": 64}
    assert chat.tools[0]["function"]["parameters"] == TOOL["input_schema"]
    assert (chat.usage.prompt_tokens, chat.usage.cache_read_tokens) == (9, 4)


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(400, "invalid_request_error"), (404, "not_found_error"), (422, "invalid_request_error")],
)
async def test_behaviour_10_a_refusal_keeps_its_words_and_its_headers(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    status: int,
    error_type: str,
) -> None:
    refusal = {"error": {"message": "context too long", "code": status}}
    headers = {"Retry-After": "7", "X-Request-ID": "up-1", "Set-Cookie": "a=1"}
    upstream.script = lambda _request: answer_json(refusal, status=status, headers=headers)
    async with client.post(gateway.url + MESSAGES, json=message_body()) as response:
        assert response.status == status
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Request-ID"] == "up-1"
        assert "Set-Cookie" not in response.headers
        error = await read_error(response)
    assert error == {"type": error_type, "message": "context too long"}


async def test_behaviour_10_credentials_stay_where_they_belong(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, api_key="sk-backend"))
    headers = {"x-api-key": "sk-client", "Authorization": "Bearer sk-client"}
    async with client.post(
        gateway.url + MESSAGES, json=message_body(), headers=headers
    ) as response:
        assert response.status == 200
    sent = upstream.requests[0].headers
    assert sent["Authorization"] == "Bearer sk-backend"
    assert "sk-client" not in str(sent)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "valid JSON"),
        (b"[]", "no JSON object"),
        (json.dumps({**message_body(), "max_tokens": None}).encode(), "max_tokens"),
        (json.dumps(message_body(model="nobody")).encode(), "nobody"),
    ],
)
async def test_wrong_requests_are_told_in_anthropics_envelope(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    body: bytes,
    message: str,
) -> None:
    gateway = start_gateway(backend_of(upstream))
    async with client.post(gateway.url + MESSAGES, data=body) as response:
        assert response.status in (400, 404)
        assert message in (await read_error(response))["message"]
    assert upstream.requests == []


async def test_errors_before_the_endpoint_are_told_in_the_clients_envelope(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream), gateway={"max_body_bytes": 2048})
    async with client.get(gateway.url + MESSAGES) as response:
        assert response.status == 405
        assert (await read_error(response))["type"] == "invalid_request_error"
    async with client.post(gateway.url + MESSAGES, data=b"x" * 4096) as response:
        assert response.status == 413
        assert (await read_error(response))["type"] == "request_too_large"
    version = {"anthropic-version": "2023-06-01"}
    for path in ("/v1/messages/batches", "/v1/nothing", "/v1/models/nobody"):
        async with client.get(gateway.url + path, headers=version) as response:
            assert response.status == 404
            assert (await read_error(response))["type"] == "not_found_error"
    async with client.get(f"{gateway.url}/v1/nothing") as response:
        assert set(await response.json()) == {"error"}


@pytest.mark.parametrize(
    "odd",
    [
        completion({"role": "assistant", "content": [{"type": "text", "text": "Hello."}]}),
        {**COMPLETION, "choices": []},
        {"error": {"message": "out of memory"}},
    ],
    ids=["content in parts", "no choice", "an error with status 200"],
)
async def test_an_answer_that_cannot_be_translated_is_502(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
    odd: dict[str, Any],
) -> None:
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url)
    upstream.script = lambda _request: answer_json(odd)
    headers = {"X-Correlation-ID": f"odd-{new_event_id()[0]}"}
    async with client.post(
        gateway.url + MESSAGES, json=message_body(), headers=headers
    ) as response:
        assert response.status == 502
        assert (await read_error(response))["type"] == "api_error"
    async with client.get(f"{gateway.url}/metrics") as response:
        metrics = await response.text()
    assert 'backend_errors_total{backend="scripted",reason="invalid"} 1.0' in metrics
    events = await wait_for_events(nats_url, headers["X-Correlation-ID"])
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.status == "failed"
    assert "cannot be read" in chat.error


async def test_a_key_that_is_not_valid_is_told_in_anthropics_envelope(
    start_gateway: StartGateway, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Anthropic's SDK sends the key as `x-api-key`."""
    key_file = tmp_path / "keys.json"
    key = make_key(key_file)
    gateway = start_gateway(backend_of(upstream), gateway={"keys_file": key_file})
    request = message_body()
    async with sdk_of(gateway) as sdk:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            await sdk.messages.create(**request)
        message = await sdk.with_options(api_key=key).messages.create(**request)
    assert refused.value.type == "authentication_error"
    assert message.stop_reason == "end_turn"


async def test_a_defect_is_told_in_anthropics_envelope(
    gateway: RunningGateway, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(ChatCall, "_response_headers", fail)
    async with client.post(gateway.url + MESSAGES, json=message_body()) as response:
        assert response.status == 500
        error = await read_error(response)
    assert error["type"] == "api_error"
    assert "a defect" not in error["message"]


async def test_sdk_raises_its_own_errors(
    start_gateway: StartGateway, upstream: ScriptedUpstream
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    gateway = start_gateway(
        backend_of(upstream, url=url, name="dead", models=("dead",)), backend_of(upstream)
    )
    async with sdk_of(gateway) as sdk:
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await sdk.messages.create(
                model="nobody", max_tokens=1, messages=[{"role": "user", "content": "x"}]
            )
        with pytest.raises(anthropic.InternalServerError) as dead:
            await sdk.messages.create(
                model="dead", max_tokens=1, messages=[{"role": "user", "content": "x"}]
            )
    assert unknown.value.type == "not_found_error"
    assert unknown.value.request_id
    assert dead.value.type in ("api_error", "overloaded_error")


async def test_behaviour_1_a_disconnect_cancels_the_upstream(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    upstream.script = script
    headers = {"X-Correlation-ID": "gone"}
    impatient = aiohttp.ClientTimeout(total=0.5)
    async with aiohttp.ClientSession(timeout=impatient) as client:
        with pytest.raises(TimeoutError):
            await client.post(gateway.url + MESSAGES, json=message_body(), headers=headers)
    await asyncio.wait_for(upstream.was_cut.wait(), 2)
    chat = (await wait_for_events(nats_url, "gone"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer) == ("cancelled", None)


async def test_passages_go_into_the_last_user_turn_and_the_sdk_shows_the_sources(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url, database_url=database_url)
    question: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "How do I request vacation?"}]}
    ]
    async with sdk_of(gateway) as sdk:
        raw = await sdk.messages.with_raw_response.create(
            model="tiny",
            max_tokens=16,
            messages=question,
            extra_headers={"X-Correlation-ID": "grounded"},
            extra_body={"retrieval": {"top_k": 1}},
        )
        message = await raw.parse()
        off = await sdk.messages.with_raw_response.create(
            model="tiny",
            max_tokens=16,
            messages=question,
            extra_headers={"X-Sluice-Retrieval": "off"},
        )
    assert raw.headers["X-Sluice-Retrieval"] == "ok"
    assert raw.headers["Server-Timing"].startswith("search;dur=")
    assert off.headers["X-Sluice-Retrieval"] == "off"
    (source,) = (message.model_extra or {})["sources"]
    assert raw.headers["X-Sluice-Sources"] == source["chunk_id"]
    assert source["source"] == "docs/handbook.md"
    grounded, plain = (request.json for request in upstream.requests)
    assert "retrieval" not in grounded
    assert "Zebrafish" in grounded["messages"][0]["content"]
    assert plain["messages"] == [{"role": "user", "content": "How do I request vacation?"}]
    events = await wait_for_events(nats_url, "grounded")
    assert events[PipelineSubject.CHAT_PERSIST][0].event.payload.messages == plain["messages"]
    assert PipelineSubject.COMPOSE in events


async def test_the_built_in_model_speaks_this_dialect_too(
    start_gateway: StartGateway, database_url: str, sqlalchemy_url: str, tmp_path: Path
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(database_url=database_url)
    question: list[Any] = [{"role": "user", "content": "How do I request vacation?"}]
    async with sdk_of(gateway) as sdk:
        message = await sdk.messages.create(model="extractive", max_tokens=64, messages=question)
        async with sdk.messages.stream(
            model="extractive", max_tokens=64, messages=question
        ) as stream:
            streamed = await stream.get_final_message()
    (block,) = message.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert "Zebrafish" in block.text
    assert [each.to_dict() for each in streamed.content] == [block.to_dict()]
    assert (streamed.model_extra or {})["sources"] == (message.model_extra or {})["sources"]
