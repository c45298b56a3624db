"""Responses by OpenAI's Python SDK."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from openai import AsyncOpenAI

from tests.conformance.replay import FAILURE, FORMS, REFUSAL, failing_stream, replay
from tests.conformance.test_openai_python_chat import GateReading
from tests.conformance.turns import FUNCTIONS, PLAIN, STRUCTURED, TOOL_TURNS, TURNS, calls_of
from tests.gateway.conftest import StartGateway, backend_of, start_gateway
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream, stream_script
from tests.support.recorded_answers import Recorder, Turn

__all__ = ["start_gateway"]

TOOLS: Any = [
    {"type": "function", "name": name, "parameters": parameters, "strict": True}
    for name, parameters in FUNCTIONS.items()
]
ASK: dict[str, Any] = {"input": "Open the north gate.", "tools": TOOLS, "store": False}


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def check_response(response: Any, turn: Turn) -> None:
    """`response` is what `turn` says, in the shape of the Responses API."""
    assert response.output_text == turn.text
    assert reasoning_of(response) == turn.reasoning
    assert function_calls(response) == calls_of(turn)
    if turn.finish_reason == "length":
        assert response.status == "incomplete"
        assert response.incomplete_details.reason == "max_output_tokens"
    else:
        assert response.status == "completed"
    assert response.usage.input_tokens == turn.prompt_tokens
    assert response.usage.output_tokens == turn.completion_tokens


def reasoning_of(response: Any) -> str:
    parts = [
        part for item in response.output if item.type == "reasoning" for part in item.content or ()
    ]
    return "".join(part.text for part in parts)


def function_calls(response: Any) -> list[tuple[str, str, Any]]:
    return [
        (item.call_id, item.name, json.loads(item.arguments))
        for item in response.output
        if item.type == "function_call"
    ]


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_answer(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn)
    check_response(await sdk.responses.create(model=recorder.model, **ASK), turn)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
async def test_streaming_helper(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn, form: str
) -> None:
    upstream.script = replay(recorder, turn, form=form)
    text, last = "", None
    async with sdk.responses.stream(model=recorder.model, **ASK) as stream:
        async for event in stream:
            last = event
            if event.type == "response.output_text.delta":
                text += event.delta
    assert text == turn.text
    assert last is not None
    check_response(last.response, turn)  # type: ignore[union-attr]


@pytest.mark.parametrize("turn", TOOL_TURNS.values(), ids=TOOL_TURNS)
async def test_tool_round_trip(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder, turn: Turn
) -> None:
    upstream.script = replay(recorder, turn, PLAIN)
    first = await sdk.responses.create(model=recorder.model, **ASK)
    results: Any = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "done"}
        for item in first.output
        if item.type == "function_call"
    ]
    history: Any = [
        {"role": "user", "content": ASK["input"]},
        *(item.model_dump(exclude_none=True) for item in first.output),
        *results,
    ]
    second = await sdk.responses.create(model=recorder.model, **{**ASK, "input": history})
    check_response(second, PLAIN)
    sent = upstream.requests[-1].json["messages"]
    called = [call for message in sent for call in message.get("tool_calls") or ()]
    assert [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in called
    ] == calls_of(turn)
    assert [message["tool_call_id"] for message in sent if message["role"] == "tool"] == [
        call.tool_call_id for call in turn.calls
    ]


async def test_structured_output(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = replay(recorder, STRUCTURED)
    answer = await sdk.responses.parse(
        model=recorder.model, input="?", text_format=GateReading, store=False
    )
    assert answer.output_parsed == GateReading(gate="north", metres=2.5)
    sent = upstream.requests[-1].json["response_format"]
    assert sent["json_schema"]["schema"]["required"] == ["gate", "metres"]


async def test_failure_in_mid_stream_is_told(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = stream_script(failing_stream(recorder))
    stream = await sdk.responses.create(model=recorder.model, stream=True, **ASK)
    *_, last = [event async for event in stream]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert FAILURE in last.response.error.message


async def test_refusal_keeps_the_servers_words(
    sdk: AsyncOpenAI, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=400, body=recorder.refusal(REFUSAL), content_type="application/json"
        )

    upstream.script = refuse
    with pytest.raises(openai.BadRequestError, match=REFUSAL):
        await sdk.responses.create(model=recorder.model, **ASK)


@pytest.mark.parametrize("is_streaming", [False, True], ids=["whole", "streamed"])
async def test_state(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    recorder: Recorder,
    database_url: str,
    is_streaming: bool,
) -> None:
    backend = backend_of(upstream, kind=recorder.kind, models=(recorder.model,))
    gateway = start_gateway(backend, database_url=database_url)
    upstream.script = replay(recorder, TURNS["text-and-calls"], PLAIN)
    ask: Any = {"model": recorder.model, "tools": TOOLS}

    async def create(**fields: Any) -> Any:
        if not is_streaming:
            return await sdk.responses.create(**ask, **fields)
        async with sdk.responses.stream(**ask, **fields) as stream:
            return await stream.get_final_response()

    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as sdk:
        first = await create(input="Open the north gate.")
        results: Any = [
            {"type": "function_call_output", "call_id": call_id, "output": "done"}
            for call_id, _, _ in function_calls(first)
        ]
        second = await create(input=results, previous_response_id=first.id)
        assert second.previous_response_id == first.id
        roles = [message["role"] for message in upstream.requests[-1].json["messages"]]
        assert roles == ["user", "assistant", "tool", "tool"]
        kept = await sdk.responses.retrieve(first.id)
        assert function_calls(kept) == function_calls(first)
        items = await sdk.responses.input_items.list(second.id)
        assert {item.type for item in items.data} >= {"function_call_output"}
        await sdk.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(first.id)
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
            await create(input="?", previous_response_id="resp_unknown")
