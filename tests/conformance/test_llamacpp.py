"""OpenAI's Python SDK with a real llama.cpp server behind the gateway."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.conformance.sse_events import read_events
from tests.gateway.llamacpp_gateway import gateway_of_llamacpp, running_llamacpp
from tests.gateway.running_gateway import RunningGateway
from tests.support.llamacpp_server import MODEL_ALIAS
from tests.support.recorded_answers import LlamaCppRecorder, Text, Turn

ASK: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "messages": [{"role": "user", "content": "Is the weir gate open?"}],
    "max_tokens": 12,
    "temperature": 1.1,
    "seed": 5,
}


class GateChoice(BaseModel):
    gate: Literal["north", "south"]


@pytest.fixture(scope="module")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's URL."""
    folder = tmp_path_factory.mktemp("llamacpp")
    with running_llamacpp(folder, follows_grammars=True) as url:
        yield url


@pytest.fixture(scope="module")
def gateway(llamacpp: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with gateway_of_llamacpp(llamacpp, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_model_is_discovered(sdk: AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == [MODEL_ALIAS]


async def test_streamed_and_whole_answer_agree(sdk: AsyncOpenAI) -> None:
    whole = await sdk.chat.completions.create(**ASK)
    async with sdk.chat.completions.stream(
        **{**ASK, "stream_options": {"include_usage": True}}
    ) as stream:
        async for event in stream:
            last = event
        # Twelve tokens cut it short, which the helper's last step would call an error.
        streamed = stream.current_completion_snapshot
    assert last is not None
    assert whole.choices[0].message.content
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    assert streamed.choices[0].finish_reason == whole.choices[0].finish_reason == "length"
    assert streamed.usage is not None
    assert whole.usage is not None
    assert streamed.usage.completion_tokens == whole.usage.completion_tokens == 12


async def test_seed_and_number_of_choices(sdk: AsyncOpenAI) -> None:
    same, other, two = await asyncio.gather(
        sdk.chat.completions.create(**ASK),
        sdk.chat.completions.create(**{**ASK, "seed": 6}),
        sdk.chat.completions.create(**ASK, n=2),
    )
    again = await sdk.chat.completions.create(**ASK)
    assert again.choices[0].message.content == same.choices[0].message.content
    assert other.choices[0].message.content != same.choices[0].message.content
    assert [choice.index for choice in two.choices] == [0, 1]


async def test_logprobs(sdk: AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 12
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)
    assert "".join(token.token for token in logprobs.content) == answer.choices[0].message.content


@pytest.mark.parametrize("is_streaming", [False, True], ids=["whole", "streamed"])
async def test_structured_output(sdk: AsyncOpenAI, is_streaming: bool) -> None:
    ask = {**ASK, "max_tokens": 200, "response_format": GateChoice}
    if is_streaming:
        async with sdk.chat.completions.stream(**ask) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await sdk.chat.completions.parse(**ask)
    assert answer.choices[0].message.parsed.gate in ("north", "south")


async def test_tools_and_their_results_reach_the_prompt(sdk: AsyncOpenAI) -> None:
    """The model's template knows no tools, so it calls none; the server takes them all the same."""
    tool: Any = {"type": "function", "function": {"name": "open_gate", "parameters": {}}}
    history: Any = [
        *ASK["messages"],
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "open_gate", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "the gate of the weir is open"},
    ]
    short = await sdk.chat.completions.create(**ASK)
    long = await sdk.chat.completions.create(**{**ASK, "messages": history, "tools": [tool]})
    assert short.usage is not None
    assert long.usage is not None
    assert long.usage.prompt_tokens > short.usage.prompt_tokens + 5


async def test_refusals_keep_the_servers_words(sdk: AsyncOpenAI) -> None:
    long = [{"role": "user", "content": "flood " * 3000}]
    with pytest.raises(openai.BadRequestError, match="context size"):
        await sdk.chat.completions.create(**{**ASK, "messages": long})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.APIStatusError, match="image input is not supported"):
        await sdk.chat.completions.create(
            **{**ASK, "messages": [{"role": "user", "content": [image]}]}
        )
    with pytest.raises(openai.APIStatusError, match="embeddings"):
        await sdk.embeddings.create(model=MODEL_ALIAS, input="a")


@pytest.mark.parametrize("usage", [False, True], ids=["without usage", "with usage"])
async def test_recorder_writes_as_the_server_does(llamacpp: str, usage: bool) -> None:
    """The recorded answers of the other tests have the real server's fields, in its order."""
    turn = Turn((Text(("a ",) * 12),), stop="length")
    recorder = LlamaCppRecorder(MODEL_ALIAS)
    url = f"{llamacpp}/v1/chat/completions"
    options = {"stream_options": {"include_usage": True}} if usage else {}
    streamed = await _post(url, {**ASK, "stream": True, **options})
    whole = await _post(url, ASK)
    recorded = b"".join(recorder.stream(turn, usage=usage))
    assert [_shape(event.data) for event in read_events(streamed)] == [
        _shape(event.data) for event in read_events(recorded)
    ]
    assert _shape(json.loads(whole)) == _shape(json.loads(recorder.body(turn)))


async def _post(url: str, body: dict[str, Any]) -> bytes:
    # The server closes a connection after a stream, so each request has its own.
    async with aiohttp.ClientSession() as client, client.post(url, json=body) as response:
        return await response.read()


def _shape(value: Any) -> Any:
    """Return the field names of a JSON value, in order, and its types."""
    if isinstance(value, dict):
        return [(name, _shape(field)) for name, field in value.items()]
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return float if isinstance(value, int | float) else type(value)
