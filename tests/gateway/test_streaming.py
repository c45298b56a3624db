"""`POST /v1/chat/completions` with `stream: true`."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web

from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import (
    COMPLETION,
    DONE_EVENT,
    STREAM,
    USAGE_EVENT,
    ScriptedUpstream,
    answer_json,
    chunk,
    stream_script,
)

CHAT = "/v1/chat/completions"


async def stream_bytes(
    client: aiohttp.ClientSession,
    gateway: RunningGateway,
    correlation_id: str = "stream-1",
    **fields: Any,
) -> bytes:
    headers = {"X-Correlation-ID": correlation_id}
    body = chat_body(stream=True, **fields)
    async with client.post(gateway.url + CHAT, json=body, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        return await response.read()


async def test_relay_is_byte_exact_however_the_bytes_are_cut(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    sent = b"".join(
        (
            b": keep-alive\n\n",
            *STREAM[:2],
            b'data: {"choices": []}\r\n\r\n',
            b'event: message\nid: 7\ndata: {"x":\ndata: 1}\n\n',
            b"data: not json\n\n",
            b'data: {"choices":[{"index":1,"delta":{"content":"\xc3\xa9"}}]}\n\n',
            *STREAM[2:],
        )
    )
    options = {"include_usage": True}
    for size in (1, 7, 64, len(sent)):
        parts = [sent[start : start + size] for start in range(0, len(sent), size)]
        upstream.script = stream_script(parts)
        assert await stream_bytes(client, gateway, stream_options=options) == sent


async def test_events_arrive_while_the_backend_still_writes(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM[:2], wait_at_end=True)
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        received = b""
        async with asyncio.timeout(2):
            while received != b"".join(STREAM[:2]):
                received += await response.content.readany()


async def test_usage_is_always_asked_and_shown_only_where_asked(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    upstream.script = stream_script(STREAM)
    hidden = await stream_bytes(client, gateway, "hidden")
    assert hidden == b"".join(STREAM).replace(USAGE_EVENT, b"")
    refused = await stream_bytes(
        client, gateway, "refused", stream_options={"include_usage": False, "x": 1}
    )
    assert refused == hidden
    shown = await stream_bytes(client, gateway, "shown", stream_options={"include_usage": True})
    assert shown == b"".join(STREAM)
    sent = [request.json["stream_options"] for request in upstream.requests]
    assert sent == [
        {"include_usage": True},
        {"include_usage": True, "x": 1},
        {"include_usage": True},
    ]
    for correlation_id in ("hidden", "refused", "shown"):
        chat = (await wait_for_events(nats_url, correlation_id))[PipelineSubject.CHAT_PERSIST]
        assert chat[0].event.payload.usage.total_tokens == 11


async def test_events_of_a_stream(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    upstream.script = stream_script(STREAM, pause=0.01)
    await stream_bytes(client, gateway, "events")
    events = await wait_for_events(nats_url, "events")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.answer == {"role": "assistant", "content": "Hello."}
    assert (chat.status, chat.finish_reason, chat.is_streaming) == ("completed", "stop", True)
    assert 0 < chat.first_token_seconds < chat.duration_seconds
    telemetry = events[TelemetrySubject.CHAT][0].event.payload
    assert telemetry.first_token_seconds == chat.first_token_seconds


async def test_streamed_tool_calls(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return {"index": index, **fields}

    whole = {"name": "add", "arguments": '{"x": 1}'}
    parts = (
        chunk({"tool_calls": [call(0, id="a", type="function", function=whole)]}),
        chunk({"tool_calls": [call(1, id="b", function={"name": "sub", "arguments": ""})]}),
        chunk({"tool_calls": [call(1, function={"arguments": '{"y":'})], "content": "text"}),
        chunk({"tool_calls": [call(1, function={"arguments": " 2}"})]}),
        chunk({}, finish_reason="tool_calls"),
        DONE_EVENT,
    )
    upstream.script = stream_script(parts)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
        stream = await sdk.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "add"}],
            stream=True,
            extra_headers={"X-Correlation-ID": "tools"},
        )
        arguments = {0: "", 1: ""}
        async for part in stream:
            for delta in part.choices[0].delta.tool_calls or ():
                assert delta.function is not None
                arguments[delta.index] += delta.function.arguments or ""
    assert arguments == {0: '{"x": 1}', 1: '{"y": 2}'}
    events = await wait_for_events(nats_url, "tools")
    called = [found.event.payload for found in events[PipelineSubject.TOOL_CALL]]
    assert [(c.tool_call_id, c.function_name, c.arguments) for c in called] == [
        ("a", "add", '{"x": 1}'),
        ("b", "sub", '{"y": 2}'),
    ]
    answer = events[PipelineSubject.CHAT_PERSIST][0].event.payload.answer
    assert answer["content"] == "text"
    assert len(answer["tool_calls"]) == 2


@pytest.mark.parametrize("breaks_off", [True, False])
async def test_failure_in_mid_stream_ends_with_an_error_event(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
    breaks_off: bool,
) -> None:
    parts = (*STREAM[:3], b'data: {"half')
    upstream.script = stream_script(parts, pause=0.01, breaks_off=breaks_off)
    received = await stream_bytes(client, gateway, "mid")
    relayed, _, last = received.rstrip(b"\n").rpartition(b"data: ")
    assert relayed.startswith(b"".join(STREAM[:3]))
    assert DONE_EVENT not in received
    error = json.loads(last)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "backend_broken"
    chat = (await wait_for_events(nats_url, "mid"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer["content"]) == ("failed", "Hello.")


async def test_silence_in_mid_stream_ends_with_an_error_event(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream, idle_timeout_seconds=0.3))
    upstream.script = stream_script(STREAM[:2], wait_at_end=True)
    received = await stream_bytes(client, gateway)
    assert b'"code":"backend_timeout"' in received
    assert DONE_EVENT not in received
    await asyncio.wait_for(upstream.was_cut.wait(), 2)


async def test_the_backends_own_error_event_ends_the_stream(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    error = b'data: {"error": {"message": "out of memory"}}\n\n'
    upstream.script = stream_script((STREAM[0], error, DONE_EVENT))
    completed = (
        b'data: {"error":{"message":"out of memory","type":"api_error",'
        b'"param":null,"code":null}}\n\n'
    )
    assert await stream_bytes(client, gateway, "oom") == STREAM[0] + completed
    chat = (await wait_for_events(nats_url, "oom"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.error) == ("failed", "out of memory")


async def test_a_missing_done_is_made_good(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script((*STREAM[:4], b'data: {"choices":[]}'))
    received = await stream_bytes(client, gateway)
    assert received == b"".join(STREAM[:4]) + b'data: {"choices":[]}\n\n' + DONE_EVENT


async def test_a_stream_that_never_begins_is_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(())
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        assert response.status == 502


async def test_a_backend_that_does_not_stream_is_answered_whole(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = lambda _request: answer_json(COMPLETION)
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert await response.json() == COMPLETION


async def test_disconnect_in_mid_stream_cancels_the_upstream(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    upstream.script = stream_script(STREAM[:3], wait_at_end=True)
    headers = {"X-Correlation-ID": "gone"}
    async with aiohttp.ClientSession() as client:
        response = await client.post(
            gateway.url + CHAT, json=chat_body(stream=True), headers=headers
        )
        await response.content.readany()
        response.close()
    await asyncio.wait_for(upstream.was_cut.wait(), 2)
    chat = (await wait_for_events(nats_url, "gone"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer["content"]) == ("cancelled", "Hello.")


async def test_shutting_down_ends_streams_and_ships_their_events(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url)
    upstream.script = stream_script(STREAM[:3], wait_at_end=True)
    stream = asyncio.create_task(stream_bytes(client, gateway, "stopped"))
    await asyncio.sleep(0.5)
    seconds = await asyncio.to_thread(gateway.stop)
    received = await stream
    assert received.startswith(b"".join(STREAM[:3]))
    assert b'"code":"shutting_down"' in received
    assert seconds < 3
    chat = (await wait_for_events(nats_url, "stopped"))[PipelineSubject.CHAT_PERSIST]
    assert chat[0].event.payload.status == "failed"


async def test_upstream_connections_are_used_again(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    ports = set()
    script = stream_script(STREAM)

    async def noting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return await script(request)

    upstream.script = noting
    for _ in range(5):
        await stream_bytes(client, gateway)
    # One more may have been made for a health check at the same moment.
    assert len(ports) <= 2
