"""`POST /v1/chat/completions`: bytes, headers, errors and limits, not streamed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


async def test_bytes_pass_both_ways_untouched(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    messages = b'[{"role":"user","content":"h\\u00e9 \xc3\xa9"}]'
    body = b'{ "model":"tiny", "messages":' + messages + b',"x_new": 1.50 }'
    answer = b'{"choices": [ ], "y_new":  1.50}'

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=answer, content_type="application/json")

    upstream.script = script
    async with client.post(gateway.url + CHAT, data=body) as response:
        assert (response.status, await response.read()) == (200, answer)
        assert response.headers["Server-Timing"].startswith("backend;dur=")
    assert upstream.requests[0].body == body


async def test_openai_sdk_reads_the_answer(gateway: RunningGateway) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="sk-client") as sdk:
        completion = await sdk.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": "Say hello"}]
        )
    assert completion.choices[0].message.content == "Hello."
    assert completion.usage is not None
    assert completion.usage.total_tokens == 11


async def test_events_of_an_answered_call(
    gateway: RunningGateway, nats_url: str, client: aiohttp.ClientSession
) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"X-Correlation-ID": "call-1", "traceparent": traceparent}
    body = chat_body(temperature=0.5, max_tokens=16, x_new={"a": 1})
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        assert response.headers["X-Correlation-ID"] == "call-1"
    events = await wait_for_events(nats_url, "call-1")
    assert {subject: len(found) for subject, found in events.items()} == {
        PipelineSubject.CHAT_PERSIST: 1,
        PipelineSubject.FLOW_LINEAGE: 1,
        TelemetrySubject.CHAT: 1,
    }
    recorded = events[PipelineSubject.CHAT_PERSIST][0]
    assert recorded.headers["Nats-Msg-Id"] == recorded.event.event_id
    assert recorded.headers["X-Correlation-ID"] == "call-1"
    assert recorded.headers["traceparent"] == recorded.event.traceparent == traceparent
    chat = recorded.event.payload
    assert (chat.dialect, chat.model, chat.backend) == ("openai.chat", "tiny", "scripted")
    assert (chat.status, chat.finish_reason, chat.error) == ("completed", "stop", None)
    assert chat.messages == body["messages"]
    assert chat.answer == {"role": "assistant", "content": "Hello."}
    assert chat.parameters == {"temperature": 0.5, "max_tokens": 16, "x_new": {"a": 1}}
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (9, 2)
    assert chat.duration_seconds > 0
    lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
    assert lineage.event_ids == [recorded.event.event_id]
    assert [stage.name for stage in lineage.stages] == ["backend"]
    telemetry = events[TelemetrySubject.CHAT][0].event.payload
    assert (telemetry.status, telemetry.usage.total_tokens) == ("completed", 11)


async def test_tool_calls_of_an_answer_are_events(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    calls = [
        {"id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
        {"id": "call_b", "type": "function", "function": {"name": "sub", "arguments": "broken{"}},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    upstream.script = lambda _request: answer_json({**COMPLETION, "choices": [choice]})
    tools = [{"type": "function", "function": {"name": "add"}}]
    headers = {"X-Correlation-ID": "tools-1"}
    async with client.post(
        gateway.url + CHAT, json=chat_body(tools=tools), headers=headers
    ) as response:
        assert response.status == 200
    events = await wait_for_events(nats_url, "tools-1")
    called = [found.event.payload for found in events[PipelineSubject.TOOL_CALL]]
    assert [(c.tool_call_id, c.function_name, c.arguments, c.position) for c in called] == [
        ("call_a", "add", '{"x":1}', 0),
        ("call_b", "sub", "broken{", 1),
    ]
    assert len(events[TelemetrySubject.TOOL_CALL]) == 2
    assert events[PipelineSubject.CHAT_PERSIST][0].event.payload.tools == tools
    lineage = events[PipelineSubject.FLOW_LINEAGE][0].event.payload
    assert len(lineage.event_ids) == 3


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"{", None, "invalid_json"),
        (b"", None, "invalid_json"),
        (b'{"model": "tiny", "messages": "\xff"}', None, "invalid_json"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", None, "json_too_deep"),
        (b"[]", None, "invalid_value"),
        (b'{"messages": [{"role": "user"}]}', "model", "missing_required_parameter"),
        (b'{"model": 7, "messages": [{"role": "user"}]}', "model", "invalid_type"),
        (b'{"model": "tiny"}', "messages", "missing_required_parameter"),
        (b'{"model": "tiny", "messages": []}', "messages", "empty_array"),
        (b'{"model": "tiny", "messages": {}}', "messages", "invalid_type"),
        (b'{"model": "tiny", "messages": [{"role": 1}]}', "messages[0].role", "invalid_type"),
        (
            b'{"model": "tiny", "messages": [{"role": "user", "content": 7}]}',
            "messages[0].content",
            "invalid_type",
        ),
        (
            b'{"model": "tiny", "messages": [{"role": "user"}], "stream": "yes"}',
            "stream",
            "invalid_type",
        ),
        (
            b'{"model": "tiny", "messages": [{"role": "user"}], "retrieval": {"top_k": 0}}',
            "retrieval.top_k",
            "invalid_type",
        ),
        (
            b'{"model": "tiny", "messages": [{"role": "user"}], "retrieval": {"topk": 1}}',
            "retrieval",
            "invalid_type",
        ),
    ],
)
async def test_wrong_requests_are_400(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    body: bytes,
    param: str | None,
    code: str,
) -> None:
    gateway = start_gateway(backend_of(upstream))
    async with client.post(gateway.url + CHAT, data=body) as response:
        assert response.status == 400
        error = await read_error(response)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", CHAT, 405), ("POST", "/v1/nothing", 404)]
)
async def test_wrong_method_and_path(
    gateway: RunningGateway, client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, gateway.url + path) as response:
        assert response.status == status
        await read_error(response)


async def test_unknown_model_is_404_and_no_chat_event(
    gateway: RunningGateway, nats_url: str, client: aiohttp.ClientSession
) -> None:
    headers = {"X-Correlation-ID": "unknown-model"}
    body = chat_body(model="nobody")
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        assert response.status == 404
        error = await read_error(response)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "tiny" in error["message"]
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        known = response.headers["X-Correlation-ID"]
    await wait_for_events(nats_url, known)
    with pytest.raises(TimeoutError):
        await wait_for_events(nats_url, "unknown-model", timeout_seconds=0.5)


async def test_unreachable_backend_is_502_and_a_failed_call(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    gateway = start_gateway(backend_of(upstream, url=url), nats_url=nats_url)
    headers = {"X-Correlation-ID": "unreachable"}
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
        assert response.status == 502
        error = await read_error(response)
    assert (error["type"], error["code"]) == ("api_error", "backend_unreachable")
    events = await wait_for_events(nats_url, "unreachable")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer) == ("failed", None)
    assert "cannot be reached" in chat.error
    stages = events[PipelineSubject.FLOW_LINEAGE][0].event.payload.stages
    assert [(stage.name, stage.status) for stage in stages] == [("backend", "failed")]


async def test_silent_backend_is_504(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    upstream.script = script
    gateway = start_gateway(backend_of(upstream, first_byte_timeout_seconds=0.3))
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 504
        assert (await read_error(response))["code"] == "backend_timeout"
    await upstream.was_cut.wait()


@pytest.mark.parametrize("status", [400, 422, 429])
async def test_backend_errors_pass_through(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession, status: int
) -> None:
    refusal = {"error": {"message": "context too long", "extra": 1}}
    headers = {
        "Retry-After": "7",
        "X-Request-ID": "up-1",
        "OpenAI-Version": "x",
        "Set-Cookie": "a=1",
    }
    upstream.script = lambda _request: answer_json(refusal, status=status, headers=headers)
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == status
        missing = {"type": "invalid_request_error", "param": None, "code": None}
        assert await response.json() == {"error": {**refusal["error"], **missing}}
        assert response.headers["Retry-After"] == "7"
        assert response.headers["X-Request-ID"] == "up-1"
        assert response.headers["OpenAI-Version"] == "x"
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("status", [401, 302, 500])
async def test_backend_faults_that_are_no_business_of_the_client_are_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession, status: int
) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>sk-secret</html>", status=status)

    upstream.script = script
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 502
        assert "sk-secret" not in (await read_error(response))["message"]


async def test_an_answer_that_is_no_completion_is_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello", content_type="application/json")

    upstream.script = script
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 502
        assert (await read_error(response))["code"] == "backend_invalid"


async def test_body_limit_with_and_without_content_length(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream), gateway={"max_body_bytes": 4096})
    big = json.dumps(chat_body(padding="x" * 8192)).encode()
    fitting = json.dumps(chat_body(padding="x" * 2048)).encode()

    async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    for data in (big, in_chunks(big)):
        async with client.post(gateway.url + CHAT, data=data) as response:
            assert response.status == 413
            assert (await read_error(response))["code"] == "request_too_large"
    async with client.post(gateway.url + CHAT, data=in_chunks(fitting)) as response:
        assert response.status == 200
    assert len(upstream.requests) == 1


async def test_credentials_stay_where_they_belong(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, api_key="sk-backend"))
    headers = {
        "Authorization": "Bearer sk-client",
        "Cookie": "session=sk-client",
        "X-Api-Key": "sk-client",
        "X-Request-ID": "from-client",
    }
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
        assert response.status == 200
        assert response.headers["X-Correlation-ID"] == "from-client"
    sent = upstream.requests[0].headers
    assert sent["Authorization"] == "Bearer sk-backend"
    assert "sk-client" not in str(sent)
    assert sent["X-Request-ID"] == sent["X-Correlation-ID"] == "from-client"


async def test_disconnect_cancels_the_upstream(
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
            await client.post(gateway.url + CHAT, json=chat_body(), headers=headers)
    await asyncio.wait_for(upstream.was_cut.wait(), 2)
    chat = (await wait_for_events(nats_url, "gone"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer) == ("cancelled", None)


async def read_error(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/json"
    assert response.headers["X-Correlation-ID"]
    envelope = await response.json()
    assert set(envelope) == {"error"}
    error: dict[str, Any] = envelope["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
