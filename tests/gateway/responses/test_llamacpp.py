"""OpenAI's Python SDK speaks the Responses protocol with a real llama.cpp server."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.gateway.llamacpp_gateway import gateway_of_llamacpp, running_llamacpp
from tests.support.llamacpp_server import MODEL_ALIAS

ASK: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "input": "Is the weir gate open?",
    "max_output_tokens": 12,
    "temperature": 1.1,
    "extra_body": {"seed": 5},
}


class GateChoice(BaseModel):
    gate: Literal["north", "south"]


@pytest.fixture(scope="module")
def gateway_url(
    tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]
) -> Iterator[str]:
    """A gateway with a database, and llama.cpp behind it."""
    folder = tmp_path_factory.mktemp("llamacpp")
    with (
        running_llamacpp(folder, follows_grammars=True) as url,
        gateway_of_llamacpp(url, folder, postgres_url=new_database()) as gateway,
    ):
        yield gateway.url


@pytest.fixture
async def sdk(gateway_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway_url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_streamed_and_whole_answer_agree(sdk: AsyncOpenAI) -> None:
    whole = await sdk.responses.create(**ASK)
    events = [event async for event in await sdk.responses.create(**ASK, stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    terminal = events[-1]
    # Twelve tokens cut it short.
    assert terminal.type == "response.incomplete"
    assert whole.status == "incomplete"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) > 1, "it was not streamed"
    assert "".join(deltas) == terminal.response.output_text == whole.output_text != ""
    assert terminal.response.usage is not None
    assert terminal.response.usage.output_tokens == 12


async def test_a_conversation_goes_on_and_its_prompt_grows(sdk: AsyncOpenAI) -> None:
    first = await sdk.responses.create(**ASK)
    second = await sdk.responses.create(**ASK, previous_response_id=first.id)
    third = await sdk.responses.create(**ASK, previous_response_id=second.id)
    tokens = [response.usage.input_tokens for response in (first, second, third) if response.usage]
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 3
    assert (await sdk.responses.retrieve(third.id)).output_text == third.output_text
    await sdk.responses.delete(first.id)


async def test_structured_output(sdk: AsyncOpenAI) -> None:
    ask = {**ASK, "max_output_tokens": 200}
    parsed = await sdk.responses.parse(**ask, text_format=GateChoice)
    assert parsed.output_parsed is not None
    async with sdk.responses.stream(**ask, text_format=GateChoice) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed is not None
    assert final.output_parsed.gate in ("north", "south")


async def test_tools_and_their_results_reach_the_prompt(sdk: AsyncOpenAI) -> None:
    plain = await sdk.responses.create(**ASK)
    tools: Any = [{"type": "function", "name": "open_gate", "parameters": {"type": "object"}}]
    history: Any = [
        {"role": "user", "content": "Open the gate."},
        {"type": "function_call", "call_id": "c1", "name": "open_gate", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "The gate is open now."},
    ]
    answer = await sdk.responses.create(**{**ASK, "input": history}, tools=tools)
    assert plain.usage is not None
    assert answer.usage is not None
    assert answer.usage.input_tokens > plain.usage.input_tokens
