"""Messages by Anthropic's Python SDK."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from aiohttp import web
from anthropic import AsyncAnthropic

from tests.conformance.replay import FAILURE, FORMS, REFUSAL, failing_stream, replay
from tests.conformance.turns import FUNCTIONS, PLAIN, REASONED, TOOL_TURNS, TURNS, calls_of
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, stream_script
from tests.support.recorded_answers import RECORDERS, Recorder, Turn

TOOLS: Any = [
    {"name": name, "description": "a tool", "input_schema": parameters}
    for name, parameters in FUNCTIONS.items()
]
ASK: dict[str, Any] = {
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Open the north gate."}],
    "tools": TOOLS,
}


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


def check_message(message: Any, turn: Turn) -> None:
    """`message` is what `turn` says, in Anthropic's shape."""
    texts = [block.text for block in message.content if block.type == "text"]
    thoughts = [block for block in message.content if block.type == "thinking"]
    assert "".join(texts) == turn.text
    assert all(texts), "an empty text block"
    assert "".join(block.thinking for block in thoughts) == turn.reasoning
    assert len(thoughts) <= 1
    assert message.content[: len(thoughts)] == thoughts, "reasoning comes first"
    assert [
        (block.id, block.name, block.input) for block in message.content if block.type == "tool_use"
    ] == calls_of(turn)
    assert message.stop_reason == stop_reason_of(turn)
    assert message.usage.input_tokens == turn.prompt_tokens
    assert message.usage.output_tokens == turn.completion_tokens


def stop_reason_of(turn: Turn) -> str:
    return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[
        turn.finish_reason
    ]


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_answer(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn)
    check_message(await sdk.messages.create(model=recorder.model, **ASK), turn)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_streaming_helper(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn, form: str
) -> None:
    upstream.script = replay(recorder, turn, form=form)
    async with sdk.messages.stream(model=recorder.model, **ASK) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == turn.text
    check_message(message, turn)


@pytest.mark.parametrize("turn", TOOL_TURNS.values(), ids=TOOL_TURNS)
async def test_tool_round_trip(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn, PLAIN)
    first = await sdk.messages.create(model=recorder.model, **ASK)
    results: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "done"}
        for block in first.content
        if block.type == "tool_use"
    ]
    history: Any = [
        *ASK["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    second = await sdk.messages.create(model=recorder.model, **{**ASK, "messages": history})
    check_message(second, PLAIN)
    system, _question, called, *answers = upstream.requests[-1].json["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert called["role"] == "assistant"
    assert [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in called["tool_calls"]
    ] == calls_of(turn)
    assert (called.get("content") or "") == turn.text
    assert [(answer["role"], answer["tool_call_id"]) for answer in answers] == [
        ("tool", call.tool_call_id) for call in turn.calls
    ]


async def test_reasoning_goes_back_to_the_backend(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = replay(recorder, REASONED, PLAIN)
    first = await sdk.messages.create(model=recorder.model, **ASK)
    [signature] = [block.signature for block in first.content if block.type == "thinking"]
    assert isinstance(signature, str)
    history: Any = [
        *ASK["messages"],
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "And now?"},
    ]
    await sdk.messages.create(model=recorder.model, **{**ASK, "messages": history})
    said = upstream.requests[-1].json["messages"][2]
    assert said["reasoning_content"] == REASONED.reasoning
    assert said["content"] == REASONED.text


async def test_failure_in_mid_stream_is_an_api_error(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = stream_script(failing_stream(recorder))
    with pytest.raises(anthropic.APIStatusError, match=FAILURE):
        async with sdk.messages.stream(model=recorder.model, **ASK) as stream:
            await stream.get_final_message()


async def test_refusal_keeps_the_servers_words(
    sdk: AsyncAnthropic, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=400, body=recorder.refusal(REFUSAL), content_type="application/json"
        )

    upstream.script = refuse
    with pytest.raises(anthropic.BadRequestError, match=REFUSAL) as refusal:
        await sdk.messages.create(model=recorder.model, **ASK)
    assert refusal.value.type == "invalid_request_error"
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await sdk.messages.create(model="huge", **ASK)
    assert unknown.value.type == "not_found_error"


async def test_models_and_count_tokens(sdk: AsyncAnthropic, recorder: Recorder) -> None:
    assert [model.id async for model in sdk.models.list()] == [each.model for each in RECORDERS]
    assert (await sdk.models.retrieve(recorder.model)).type == "model"
    few = await sdk.messages.count_tokens(
        model=recorder.model, messages=[{"role": "user", "content": "Open?"}]
    )
    many = await sdk.messages.count_tokens(
        model=recorder.model, **{name: ASK[name] for name in ("system", "messages", "tools")}
    )
    assert 0 < few.input_tokens < many.input_tokens
