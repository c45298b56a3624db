"""Chat completions by OpenAI's Python SDK."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.conformance.replay import FORMS, failing_stream, replay
from tests.conformance.turns import (
    FUNCTIONS,
    ONE_CALL,
    PLAIN,
    STRUCTURED,
    TOOL_TURNS,
    TURNS,
    calls_of,
)
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, stream_script
from tests.support.recorded_answers import RECORDERS, Recorder, Turn

MESSAGES: Any = [{"role": "user", "content": "Open the north gate."}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": parameters, "strict": True}}
    for name, parameters in FUNCTIONS.items()
]


class GateReading(BaseModel):
    gate: str
    metres: float


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def _calls(message: Any) -> list[tuple[str, str, Any]]:
    return [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in message.tool_calls or ()
    ]


def _reasoning(message: Any) -> str:
    extra = message.model_extra or {}
    return extra.get("reasoning_content") or extra.get("reasoning") or ""


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_answer(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn)
    answer = await sdk.chat.completions.create(model=recorder.model, messages=MESSAGES, tools=TOOLS)
    choice = answer.choices[0]
    assert (choice.message.content or "") == turn.text
    assert _reasoning(choice.message) == turn.reasoning
    assert _calls(choice.message) == calls_of(turn)
    assert choice.finish_reason == turn.finish_reason
    assert answer.usage is not None
    assert answer.usage.total_tokens == turn.prompt_tokens + turn.completion_tokens


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_streaming_helper(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn, form: str
) -> None:
    upstream.script = replay(recorder, turn, form=form)
    text = ""
    async with sdk.chat.completions.stream(
        model=recorder.model, messages=MESSAGES, tools=TOOLS, stream_options={"include_usage": True}
    ) as stream:
        if turn.stop == "length":
            # The helper says by an exception that the answer was cut.
            with pytest.raises(openai.LengthFinishReasonError):
                async for _ in stream:
                    pass
            return
        async for event in stream:
            if event.type == "content.delta":
                text += event.delta
        answer = await stream.get_final_completion()
    message = answer.choices[0].message
    assert text == (message.content or "") == turn.text
    assert _reasoning(message) == turn.reasoning
    assert _calls(message) == calls_of(turn)
    assert answer.choices[0].finish_reason == turn.finish_reason
    assert answer.usage is not None
    assert answer.usage.total_tokens == turn.prompt_tokens + turn.completion_tokens


async def test_usage_comes_only_where_it_is_asked_for(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = replay(recorder, PLAIN)
    stream = await sdk.chat.completions.create(model=recorder.model, messages=MESSAGES, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)
    assert upstream.requests[-1].json["stream_options"] == {"include_usage": True}


async def test_structured_output(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = replay(recorder, STRUCTURED)
    expected = GateReading(gate="north", metres=2.5)
    answer = await sdk.chat.completions.parse(
        model=recorder.model, messages=MESSAGES, response_format=GateReading
    )
    assert answer.choices[0].message.parsed == expected
    sent = upstream.requests[-1].json["response_format"]
    assert sent["json_schema"]["schema"]["required"] == ["gate", "metres"]
    async with sdk.chat.completions.stream(
        model=recorder.model, messages=MESSAGES, response_format=GateReading
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.parsed == expected


@pytest.mark.parametrize("turn", TOOL_TURNS.values(), ids=TOOL_TURNS)
async def test_tool_round_trip(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn, PLAIN)
    first = await sdk.chat.completions.create(model=recorder.model, messages=MESSAGES, tools=TOOLS)
    called = first.choices[0].message
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": "done"}
        for call in called.tool_calls or ()
    ]
    history: Any = [*MESSAGES, called.model_dump(exclude_none=True), *results]
    second = await sdk.chat.completions.create(model=recorder.model, messages=history, tools=TOOLS)
    assert second.choices[0].message.content == PLAIN.text
    assert upstream.requests[-1].json["messages"] == history


async def test_failure_in_mid_stream_is_an_api_error(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = stream_script(failing_stream(recorder))
    stream = await sdk.chat.completions.create(model=recorder.model, messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="out of memory"):
        async for _ in stream:
            pass


async def test_refusal_keeps_the_servers_words(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=400, body=recorder.refusal("too long"), content_type="application/json"
        )

    upstream.script = refuse
    for is_streaming in (False, True):
        with pytest.raises(openai.BadRequestError, match="too long") as refusal:
            await sdk.chat.completions.create(
                model=recorder.model, messages=MESSAGES, stream=is_streaming
            )
        assert set(refusal.value.body or {}) == {"message", "type", "param", "code"}


async def test_models_and_embeddings(sdk: AsyncOpenAI, recorder: Recorder) -> None:
    assert [model.id async for model in sdk.models.list()] == [each.model for each in RECORDERS]
    assert (await sdk.models.retrieve(recorder.model)).object == "model"
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("huge")
    for encoding_format in ({}, {"encoding_format": "float"}):
        made = await sdk.embeddings.create(
            model=recorder.model, input=["a", "b"], **encoding_format
        )
        assert [item.embedding for item in made.data] == [pytest.approx([0.5, -0.25, 1e-3])] * 2


async def test_call_in_one_chunk_reaches_the_client_whole(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = replay(recorder, ONE_CALL, form="whole calls")
    stream = await sdk.chat.completions.create(model=recorder.model, messages=MESSAGES, stream=True)
    arguments = ""
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.index == 0
            arguments += (call.function.arguments if call.function else None) or ""
    assert json.loads(arguments) == {"gate": "north"}
