"""`POST /v1/messages` with `stream: true`, over a backend that speaks chat completions."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import pytest

from contracts.subjects import PipelineSubject
from tests.gateway.anthropic_stream import (
    MESSAGES,
    MessageEvent,
    blocks_of,
    message_body,
    read_events,
    stream_events,
)
from tests.gateway.conftest import StartGateway, backend_of
from tests.gateway.documents import ingest
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
from tests.gateway.test_messages import TOOL, sdk_of


def text_of(events: list[MessageEvent]) -> str:
    return "".join(block.get("text", "") for block in blocks_of(events))


async def test_sdk_helper_accumulates_text_thinking_and_a_call(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    call = {"index": 0, "id": "call_a", "function": {"name": "add", "arguments": ""}}
    upstream.script = stream_script(
        (
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "H"}),
            chunk({"reasoning_content": "m."}),
            chunk({"content": "Let "}),
            chunk({"content": "me see."}),
            chunk({"tool_calls": [call]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}),
            chunk({}, finish_reason="tool_calls"),
            USAGE_EVENT,
            DONE_EVENT,
        ),
        pause=0.01,
    )
    async with (
        sdk_of(gateway) as sdk,
        sdk.messages.stream(
            model="tiny",
            max_tokens=64,
            messages=[{"role": "user", "content": "add"}],
            tools=[TOOL],
            extra_headers={"X-Correlation-ID": "stream-1"},
        ) as stream,
    ):
        texts = [event.text async for event in stream if event.type == "text"]
        message = await stream.get_final_message()
    assert texts == ["Let ", "me see."]
    thinking, text, use = message.content
    assert isinstance(thinking, anthropic.types.ThinkingBlock)
    assert (thinking.thinking, bool(thinking.signature)) == ("Hm.", True)
    assert text.to_dict() == {"type": "text", "text": "Let me see."}
    assert isinstance(use, anthropic.types.ToolUseBlock)
    assert (use.id, use.name, use.input) == ("call_a", "add", {"x": 1})
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 2)
    assert upstream.requests[0].json["stream_options"] == {"include_usage": True}

    events = await wait_for_events(nats_url, "stream-1")
    chat = events[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.dialect, chat.status, chat.is_streaming) == (
        "anthropic.messages",
        "completed",
        True,
    )
    assert chat.answer["content"] == "Let me see."
    assert chat.answer["reasoning_content"] == "Hm."
    assert 0 < chat.first_token_seconds < chat.duration_seconds
    assert len(events[PipelineSubject.TOOL_CALL]) == 1


async def test_behaviour_7_the_usage_is_in_the_stream_and_in_the_event(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
) -> None:
    parts = (*STREAM[:2], b'data: {"choices": []}\n\n', b"data: {}\n\n", *STREAM[2:])
    upstream.script = stream_script(parts)
    headers = {"X-Correlation-ID": "usage"}
    events = await stream_events(client, gateway.url, headers=headers)
    assert text_of(events) == "Hello."
    assert events[-2].data["usage"] == {"input_tokens": 9, "output_tokens": 2}
    chat = (await wait_for_events(nats_url, "usage"))[PipelineSubject.CHAT_PERSIST][0]
    assert chat.event.payload.usage.total_tokens == 11


async def test_events_arrive_while_the_backend_still_writes(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM[:2], wait_at_end=True)
    async with client.post(gateway.url + MESSAGES, json=message_body(stream=True)) as response:
        received = b""
        async with asyncio.timeout(5):
            while b'"Hel"' not in received:
                received += await response.content.readany()


async def test_a_keep_alive_becomes_a_ping(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script((b": keep-alive\n\n", *STREAM))
    events = await stream_events(client, gateway.url)
    assert [event.name for event in events[:3]] == ["message_start", "ping", "ping"]
    assert text_of(events) == "Hello."


@pytest.mark.parametrize("breaks_off", [True, False])
async def test_behaviour_11_a_failure_in_mid_stream_ends_with_an_error_event(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    client: aiohttp.ClientSession,
    breaks_off: bool,
) -> None:
    upstream.script = stream_script(
        (*STREAM[:3], b'data: {"half'), pause=0.01, breaks_off=breaks_off
    )
    headers = {"X-Correlation-ID": "mid"}
    events = await stream_events(client, gateway.url, headers=headers)
    assert events[-1].name == "error"
    assert events[-1].data["error"]["type"] == "api_error"
    assert events[-1].data["request_id"] == "mid"
    assert not [event for event in events if event.name in ("message_delta", "message_stop")]
    chat = (await wait_for_events(nats_url, "mid"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert (chat.status, chat.answer["content"]) == ("failed", "Hello.")


async def test_behaviour_11_the_backends_own_error_raises_in_the_sdk(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    error = b'data: {"error": {"message": "out of memory"}}\n\n'
    upstream.script = stream_script((*STREAM[:2], error, DONE_EVENT))
    async with (
        sdk_of(gateway) as sdk,
        sdk.messages.stream(
            model="tiny", max_tokens=8, messages=[{"role": "user", "content": "x"}]
        ) as stream,
    ):
        with pytest.raises(anthropic.APIStatusError, match="out of memory"):
            await stream.get_final_message()


async def test_behaviour_12_a_stream_that_never_begins_is_502(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(())
    async with client.post(gateway.url + MESSAGES, json=message_body(stream=True)) as response:
        assert response.status == 502
        assert (await response.json())["type"] == "error"


async def test_a_missing_end_is_made_good(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM[:4])
    events = await stream_events(client, gateway.url)
    assert text_of(events) == "Hello."
    assert events[-1].name == "message_stop"


async def test_a_backend_that_does_not_stream_is_streamed(
    gateway: RunningGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = lambda _request: answer_json(COMPLETION)
    events = await stream_events(client, gateway.url)
    assert text_of(events) == "Hello."
    assert events[-2].data["usage"] == {"input_tokens": 9, "output_tokens": 2}


async def test_behaviour_1_a_disconnect_in_mid_stream_cancels_the_upstream(
    gateway: RunningGateway, upstream: ScriptedUpstream, nats_url: str
) -> None:
    upstream.script = stream_script(STREAM[:3], wait_at_end=True)
    headers = {"X-Correlation-ID": "gone"}
    body = message_body(stream=True)
    async with aiohttp.ClientSession() as client:
        response = await client.post(gateway.url + MESSAGES, json=body, headers=headers)
        await response.content.readany()
        response.close()
    await asyncio.wait_for(upstream.was_cut.wait(), 2)
    chat = (await wait_for_events(nats_url, "gone"))[PipelineSubject.CHAT_PERSIST][0].event.payload
    assert chat.status == "cancelled"


async def test_shutting_down_ends_a_stream_with_an_error_event(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    gateway = start_gateway(backend_of(upstream))
    upstream.script = stream_script(STREAM[:3], wait_at_end=True)
    async with client.post(gateway.url + MESSAGES, json=message_body(stream=True)) as response:
        received = await response.content.readany()
        stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
        received += await response.read()
        await stopping
    events = read_events(received)
    assert events[-1].name == "error"
    assert events[-1].data["error"]["type"] == "overloaded_error"


async def test_sources_come_with_the_message_that_starts(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    database_url: str,
    sqlalchemy_url: str,
    tmp_path: Path,
) -> None:
    ingest(sqlalchemy_url, tmp_path)
    gateway = start_gateway(backend_of(upstream), database_url=database_url)
    upstream.script = stream_script(STREAM)
    question: list[Any] = [{"role": "user", "content": "How do I request vacation?"}]
    async with (
        sdk_of(gateway) as sdk,
        sdk.messages.stream(model="tiny", max_tokens=16, messages=question) as stream,
    ):
        message = await stream.get_final_message()
        assert stream.response.headers["X-Sluice-Sources"]
    assert (message.model_extra or {})["sources"][0]["source"] == "docs/handbook.md"
