"""`POST /v1/messages` over a backend that speaks the Messages API itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import pytest
from aiohttp import web

from contracts.subjects import PipelineSubject, TelemetrySubject
from tests.gateway.anthropic_stream import MESSAGES, message_body, read_events, stream_events
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, answer_json, stream_script
from tests.gateway.test_messages import TOOL, sdk_of

APIS = ("chat", "messages")
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "tiny",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"x": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 2},
}


def event(**data: Any) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def delta(index: int, **fields: Any) -> bytes:
    return event(type="content_block_delta", index=index, delta=fields)


def block(index: int, **fields: Any) -> bytes:
    return event(type="content_block_start", index=index, content_block=fields)


STARTED = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 5}}
STREAM = (
    event(type="message_start", message=STARTED),
    event(type="ping"),
    block(0, type="thinking", thinking="", signature=""),
    delta(0, type="thinking_delta", thinking="Hm."),
    delta(0, type="signature_delta", signature="sig"),
    event(type="content_block_stop", index=0),
    block(1, type="text", text=""),
    delta(1, type="text_delta", text="Let me "),
    delta(1, type="text_delta", text="see."),
    event(type="content_block_stop", index=1),
    block(2, type="tool_use", id="toolu_1", name="add", input={}),
    delta(2, type="input_json_delta", partial_json='{"x":'),
    delta(2, type="input_json_delta", partial_json=" 1}"),
    event(type="content_block_stop", index=2),
    event(
        type="message_delta",
        delta={"stop_reason": "tool_use", "stop_sequence": None},
        usage={"output_tokens": 2, "cache_read_input_tokens": 4},
    ),
    event(type="message_stop"),
)

OUT_OF_MEMORY = event(type="error", error={"type": "api_error", "message": "oom"})


@pytest.fixture
def gateway(
    start_gateway: StartGateway, upstream: ScriptedUpstream, nats_url: str
) -> RunningGateway:
    return start_gateway(backend_of(upstream, apis=APIS), nats_url=nats_url)


async def check_events(nats_url: str, correlation_id: str) -> None:
    """The events are those of the same answer in chat completions."""
    events = await wait_for_events(nats_url, correlation_id)
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.dialect, chat.status, chat.finish_reason) == (
        "anthropic.messages",
        "completed",
        "tool_calls",
    )
    assert chat.messages == [{"role": "user", "content": "Say hello"}]
    assert chat.answer["content"] == "Let me see."
    assert chat.answer["reasoning_content"] == "Hm."
    usage = chat.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cache_read_tokens) == (9, 2, 4)
    (called,) = events[PipelineSubject.TOOL_CALL]
    call = called.event.payload
    assert (call.tool_call_id, call.function_name) == ("toolu_1", "add")
    assert json.loads(call.arguments) == {"x": 1}
    assert len(events[TelemetrySubject.TOOL_CALL]) == 1


async def test_bytes_pass_both_ways_untouched(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    body = json.dumps(message_body(x_new={"a": 1.50}), indent=1).encode()
    answer = json.dumps(MESSAGE, indent=2).encode()

    async def script(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=answer, content_type="application/json")

    upstream.script = script
    headers = {"X-Correlation-ID": "native"}
    async with client.post(gateway.url + MESSAGES, data=body, headers=headers) as response:
        assert (response.status, await response.read()) == (200, answer)
        assert response.headers["request-id"] == "native"
    assert (upstream.requests[0].path, upstream.requests[0].body) == (MESSAGES, body)
    await check_events(nats_url, "native")


async def test_a_stream_passes_untouched_however_it_is_cut(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    sent = b"".join(STREAM)
    for size in (7, 64, len(sent)):
        parts = [sent[start : start + size] for start in range(0, len(sent), size)]
        upstream.script = stream_script(parts)
        headers = {"X-Correlation-ID": f"native-{size}"}
        body = message_body(stream=True)
        async with client.post(gateway.url + MESSAGES, json=body, headers=headers) as response:
            assert await response.read() == sent
        await check_events(nats_url, f"native-{size}")


async def test_behaviour_10_anthropics_headers_go_through_and_credentials_do_not(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    answered = {"anthropic-ratelimit-requests-limit": "9", "retry-after": "1", "Set-Cookie": "a=1"}
    upstream.script = lambda _request: answer_json(MESSAGE, headers=answered)
    async with sdk_of(gateway) as sdk:
        raw = await sdk.messages.with_raw_response.create(
            model="tiny",
            max_tokens=8,
            messages=[{"role": "user", "content": "x"}],
            tools=[TOOL],
            extra_headers={"anthropic-beta": "context-1m", "anthropic-version": "2023-06-01"},
        )
    sent = {name.lower(): value for name, value in upstream.requests[0].headers.items()}
    assert sent["anthropic-version"] == "2023-06-01"
    assert sent["anthropic-beta"] == "context-1m"
    assert "sk-client" not in str(sent)
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "9"
    assert raw.headers["retry-after"] == "1"
    assert "Set-Cookie" not in raw.headers


async def test_passages_go_into_the_clients_own_bytes(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
    client: aiohttp.ClientSession,
) -> None:
    """They go to the end of the last turn in which the user speaks; what is before stays."""
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(
        backend_of(upstream, apis=APIS), nats_url=nats_url, database_url=database_url
    )
    question = {"type": "text", "text": "How do I request vacation?", "cache_control": None}
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": [question]},
        {"role": "assistant", "content": [MESSAGE["content"][2]]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]},
    ]
    upstream.script = lambda _request: answer_json(MESSAGE)
    body = message_body(messages=turns, retrieval={"top_k": 1})
    async with client.post(gateway.url + MESSAGES, json=body) as response:
        answer = await response.json()
        assert response.headers["X-Sluice-Sources"] == answer["sources"][0]["chunk_id"]
    sent = upstream.requests[0].json
    assert "retrieval" not in sent
    injected = sent["messages"][2]["content"]
    assert injected[0] == question
    assert "Zebrafish" in injected[1]["text"]
    sent["messages"][2]["content"] = [question]
    assert sent["messages"] == turns

    upstream.script = stream_script(STREAM)
    asked = [{"role": "user", "content": "How do I request vacation?"}]
    events = await stream_events(client, gateway.url, messages=asked)
    assert events[0].data["message"]["sources"][0]["source"] == "docs/handbook.md"
    assert events[1:] == read_events(b"".join(STREAM[1:]))
    assert "Zebrafish" in upstream.requests[1].json["messages"][0]["content"]


async def test_a_refusal_is_told_in_the_envelope(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    refusal = {"error": {"code": 400, "message": "too long", "type": "invalid_request_error"}}
    upstream.script = lambda _request: answer_json(refusal, status=400)
    async with sdk_of(gateway) as sdk:
        with pytest.raises(anthropic.BadRequestError, match="too long") as raised:
            await sdk.messages.create(
                model="tiny", max_tokens=8, messages=[{"role": "user", "content": "x"}]
            )
    assert raised.value.type == "invalid_request_error"


async def test_an_answer_that_is_no_message_is_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = lambda _request: answer_json({"choices": []})
    async with client.post(gateway.url + MESSAGES, json=message_body()) as response:
        assert response.status == 502


@pytest.mark.parametrize(
    ("parts", "last"),
    [
        (STREAM[:8], "error"),
        ((*STREAM[:8], OUT_OF_MEMORY), "error"),
        (STREAM[:15], "message_stop"),
    ],
)
async def test_behaviour_11_every_stream_ends_with_its_own_event(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
    parts: tuple[bytes, ...],
    last: str,
) -> None:
    upstream.script = stream_script(parts)
    headers = {"X-Correlation-ID": "end"}
    events = await stream_events(client, gateway.url, headers=headers)
    assert events[-1].name == last
    chat = (await wait_for_events(nats_url, "end"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.status == ("failed" if last == "error" else "completed")
    assert chat.answer["reasoning_content"] == "Hm."


async def test_behaviour_1_a_disconnect_in_mid_stream_cancels_the_upstream(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    upstream.script = stream_script(STREAM[:8], wait_at_end=True)
    headers = {"X-Correlation-ID": "gone"}
    body = message_body(stream=True)
    async with aiohttp.ClientSession() as client:
        response = await client.post(gateway.url + MESSAGES, json=body, headers=headers)
        await response.content.readany()
        response.close()
    await asyncio.wait_for(upstream.was_cut.wait(), 2)
    chat = (await wait_for_events(nats_url, "gone"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.status == "cancelled"
