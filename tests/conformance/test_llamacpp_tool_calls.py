"""A real llama.cpp server calls tools, and each API's Python SDK reads the calls.

The model is tiny: it always begins a call, and the server's grammar sees to it that the call is
one of a given tool.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.conformance.turns import FUNCTIONS
from tests.gateway.llamacpp_gateway import gateway_of_llamacpp, running_llamacpp
from tests.gateway.running_gateway import RunningGateway
from tests.support.llamacpp_server import MODEL_ALIAS

QUESTION: Any = [{"role": "user", "content": "Open a gate."}]
GATES = ("north", "south")
SCHEMA = FUNCTIONS["open_gate"]
CHAT: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "messages": QUESTION,
    "tools": [{"type": "function", "function": {"name": "open_gate", "parameters": SCHEMA}}],
    "tool_choice": "required",
    "max_tokens": 500,
    "temperature": 0,
}
MESSAGES: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "messages": QUESTION,
    "tools": [{"name": "open_gate", "input_schema": SCHEMA}],
    "tool_choice": {"type": "any"},
    "max_tokens": 500,
    "extra_body": {"temperature": 0},
}
RESPONSES: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "input": QUESTION,
    "tools": [{"type": "function", "name": "open_gate", "parameters": SCHEMA, "strict": True}],
    "tool_choice": "required",
    "max_output_tokens": 500,
    "temperature": 0,
}

whole_and_streamed = pytest.mark.parametrize(
    "is_streaming", [False, True], ids=["whole", "streamed"]
)


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("llamacpp")
    with (
        running_llamacpp(folder, follows_grammars=True, calls_tools=True) as url,
        gateway_of_llamacpp(url, folder, postgres_url=new_database()) as gateway,
    ):
        yield gateway


@pytest.fixture
async def openai_sdk(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_sdk(gateway: RunningGateway) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        yield client


@whole_and_streamed
async def test_chat_completions(openai_sdk: AsyncOpenAI, is_streaming: bool) -> None:
    if is_streaming:
        async with openai_sdk.chat.completions.stream(**CHAT) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await openai_sdk.chat.completions.create(**CHAT)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "open_gate"
    assert json.loads(call.function.arguments)["gate"] in GATES
    history = [
        *QUESTION,
        choice.message.model_dump(exclude_none=True, exclude={"parsed"}),
        {"role": "tool", "tool_call_id": call.id, "content": "the gate is open"},
    ]
    if is_streaming:
        for part in history[1]["tool_calls"]:
            part.pop("index", None)
            part["function"].pop("parsed_arguments", None)
    second = await openai_sdk.chat.completions.create(**{**CHAT, "messages": history})
    assert second.choices[0].finish_reason == "tool_calls"
    first = answer if answer.usage else await openai_sdk.chat.completions.create(**CHAT)
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


@whole_and_streamed
async def test_messages(anthropic_sdk: AsyncAnthropic, is_streaming: bool) -> None:
    if is_streaming:
        async with anthropic_sdk.messages.stream(**MESSAGES) as stream:
            answer: Any = await stream.get_final_message()
    else:
        answer = await anthropic_sdk.messages.create(**MESSAGES)
    assert answer.stop_reason == "tool_use"
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "open_gate"
    assert call.input["gate"] in GATES
    history = [
        *QUESTION,
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "it is open"}],
        },
    ]
    second = await anthropic_sdk.messages.create(**{**MESSAGES, "messages": history})
    assert read_tokens(second.usage) > read_tokens(answer.usage)


@whole_and_streamed
async def test_responses(openai_sdk: AsyncOpenAI, is_streaming: bool) -> None:
    if is_streaming:
        async with openai_sdk.responses.stream(**RESPONSES) as stream:
            answer: Any = await stream.get_final_response()
    else:
        answer = await openai_sdk.responses.create(**RESPONSES)
    assert answer.status == "completed"
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "open_gate"
    assert json.loads(call.arguments)["gate"] in GATES
    result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "it is"}]
    second = await openai_sdk.responses.create(
        **{**RESPONSES, "input": result}, previous_response_id=answer.id
    )
    assert second.usage is not None
    assert second.usage.input_tokens > answer.usage.input_tokens


def read_tokens(usage: Any) -> int:
    """Return the prompt's tokens, those that the server had in its cache too."""
    return sum(
        count or 0
        for count in (
            usage.input_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens,
        )
    )
