"""What OpenAI's chat completions have beyond text: it reaches the backend, and it is recorded."""

import base64
import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from contracts.subjects import PipelineSubject
from tests.conformance.replay import replay
from tests.conformance.turns import PARALLEL_CALLS
from tests.gateway.conftest import StartGateway, backend_of, start_gateway
from tests.gateway.conftest import upstream as upstream_of_test
from tests.gateway.recorded_events import wait_for_events
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import (
    COMPLETION,
    DONE_EVENT,
    ScriptedUpstream,
    answer_json,
    chunk,
    stream_script,
)
from tests.support.recorded_answers import VllmRecorder

__all__ = ["start_gateway", "upstream_of_test"]

IMAGE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(64)).decode()
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "open_gate", "parameters": {}}}

REQUEST: dict[str, Any] = {
    "model": "tiny",
    "messages": [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "diver",
            "content": [
                {"type": "text", "text": "Which gate is this? \N{SNOWMAN}"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
            ],
        },
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "open_gate"}},
    "parallel_tool_calls": True,
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "gate", "strict": True, "schema": {"type": "object"}},
    },
    "seed": 9_007_199_254_740_993,
    "stop": ["\n\n"],
    "temperature": 0.30000000000000004,
    "logit_bias": {"50256": -100},
    "max_completion_tokens": 64,
    "reasoning_effort": "low",
    "chat_template_kwargs": {"enable_thinking": False},
}
"""Every field that a client sets; the numbers are such that decoding them would change them."""

NOT_PARAMETERS = {"model", "messages", "tools", "stream", "stream_options"}


@pytest.fixture
def recording_gateway(
    start_gateway: StartGateway, upstream_of_test: ScriptedUpstream, nats_url: str
) -> RunningGateway:
    return start_gateway(backend_of(upstream_of_test), nats_url=nats_url)


@pytest.mark.parametrize("is_streaming", [False, True], ids=["whole", "streamed"])
async def test_every_field_reaches_the_backend_and_is_recorded(
    recording_gateway: RunningGateway,
    upstream_of_test: ScriptedUpstream,
    nats_url: str,
    is_streaming: bool,
) -> None:
    upstream_of_test.script = replay(VllmRecorder("tiny"), PARALLEL_CALLS)
    fields = dict(REQUEST, stream=True) if is_streaming else REQUEST
    async with AsyncOpenAI(base_url=f"{recording_gateway.url}/v1", api_key="none") as sdk:
        answer = await sdk.post(
            "/chat/completions",
            body=fields,
            cast_to=object,
            options={"headers": {"X-Correlation-ID": "complete"}},
            stream=False,
        )
    assert answer is not None
    sent = upstream_of_test.requests[-1].json
    if is_streaming:
        assert sent.pop("stream_options") == {"include_usage": True}
    assert sent == fields
    assert b"9007199254740993" in upstream_of_test.requests[-1].body

    events = await wait_for_events(nats_url, "complete")
    [chat] = events[PipelineSubject.CHAT_PERSIST]
    recorded = chat.event.payload
    assert recorded.messages == REQUEST["messages"]
    assert recorded.tools == REQUEST["tools"]
    assert recorded.parameters == {
        name: value for name, value in REQUEST.items() if name not in NOT_PARAMETERS
    }
    assert [
        (call.event.payload.tool_call_id, call.event.payload.arguments)
        for call in events[PipelineSubject.TOOL_CALL]
    ] == [(call.tool_call_id, "".join(call.arguments)) for call in PARALLEL_CALLS.calls]
    assert recorded.usage.total_tokens == 40


async def test_every_choice_and_its_logprobs_reach_the_client(
    gateway: RunningGateway, upstream: ScriptedUpstream
) -> None:
    logprobs = {
        "content": [
            {
                "token": "Yes",
                "logprob": -0.25,
                "bytes": [89, 101, 115],
                "top_logprobs": [{"token": "No", "logprob": -1.5, "bytes": [78, 111]}],
            }
        ]
    }

    def choice(index: int, **content: Any) -> dict[str, Any]:
        return {"index": index, "logprobs": logprobs, "finish_reason": "stop", **content}

    message = {"role": "assistant", "content": "Yes"}
    whole = {**COMPLETION, "choices": [choice(index, message=message) for index in range(2)]}
    upstream.script = lambda _request: answer_json(whole)
    ask: dict[str, Any] = {
        "model": "tiny-vllm",
        "messages": [{"role": "user", "content": "Open?"}],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 1,
    }
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none") as sdk:
        answer = await sdk.chat.completions.create(**ask)
        assert [each.index for each in answer.choices] == [0, 1]
        for each in answer.choices:
            assert each.logprobs is not None
            assert each.logprobs.model_dump(exclude_none=True, exclude={"refusal"}) == logprobs
        # The choices of a stream take turns.
        parts = [chunk({}, choices=[choice(index, delta=message)]) for index in (1, 0)]
        upstream.script = stream_script([*parts, DONE_EVENT])
        seen = {}
        async for part in await sdk.chat.completions.create(stream=True, **ask):
            for each in part.choices:
                assert each.logprobs is not None
                seen[each.index] = json.loads(each.logprobs.to_json())["content"]
    assert seen == {0: logprobs["content"], 1: logprobs["content"]}
