"""A real llama.cpp server behind the gateway."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import openai
import pytest
from openai import OpenAI

from tests.support.database import rows
from tests.support.llamacpp_server import MODEL_ALIAS, llamacpp_process
from tests.support.processes import running
from tests.support.stack import PlatformStack, wait_until
from tests.support.tiny_gguf import write_tiny_gguf

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

MAX_TOKENS = 24


@pytest.fixture(scope="module")
def direct(
    shared_platform: PlatformStack, llamacpp_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenAI]:
    """A client of the llama.cpp server itself, started after the gateway that uses it."""
    folder = tmp_path_factory.mktemp("llamacpp")
    model = write_tiny_gguf(folder / "tiny.gguf")
    with running(llamacpp_process(model, llamacpp_port), log=folder / "log"):
        yield OpenAI(base_url=f"http://127.0.0.1:{llamacpp_port}/v1", api_key="not needed")


@pytest.fixture(scope="module")
def through_gateway(shared_platform: PlatformStack) -> OpenAI:
    gateway = shared_platform.endpoints["gateway"]
    return OpenAI(base_url=f"{gateway}/v1", api_key="not needed", max_retries=0)


def _request(question: str, *, temperature: float = 0.0) -> dict[str, Any]:
    return {
        "model": MODEL_ALIAS,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS,
        "temperature": temperature,
        "seed": 11,
        # Nothing may be added to the prompt that the server would not get from us directly.
        "extra_body": {"cache_prompt": False},
    }


def _not_retrieved(request: dict[str, Any]) -> dict[str, Any]:
    extra_body = {**request["extra_body"], "retrieval": {"enabled": False}}
    return {**request, "extra_body": extra_body}


def test_model_is_listed_once_the_server_is_up(direct: OpenAI, through_gateway: OpenAI) -> None:
    wait_until(
        lambda: MODEL_ALIAS in {model.id for model in through_gateway.models.list()}, seconds=30
    )
    assert MODEL_ALIAS in {model.id for model in direct.models.list()}
    assert through_gateway.models.retrieve(MODEL_ALIAS).id == MODEL_ALIAS


@pytest.mark.parametrize("temperature", [0.0, 1.2])
def test_answer_is_what_the_server_says_directly(
    direct: OpenAI, through_gateway: OpenAI, temperature: float
) -> None:
    request = _request("water level of the weir", temperature=temperature)
    expected = direct.chat.completions.create(**request)
    answer = through_gateway.chat.completions.create(**_not_retrieved(request))
    assert expected.choices[0].message.content
    assert answer.choices[0].message.content == expected.choices[0].message.content
    assert answer.choices[0].finish_reason == expected.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert expected.usage is not None
    assert answer.usage.prompt_tokens == expected.usage.prompt_tokens
    assert answer.usage.completion_tokens == expected.usage.completion_tokens == MAX_TOKENS


def test_stream_is_what_the_server_says_and_becomes_a_row(
    direct: OpenAI, through_gateway: OpenAI, shared_platform: PlatformStack
) -> None:
    request = _request("does the canal bridge open in spring", temperature=1.2)
    expected = direct.chat.completions.create(**request).choices[0].message.content
    correlation_id = f"llamacpp-{uuid4()}"
    stream = through_gateway.chat.completions.create(
        **_not_retrieved(request),
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"X-Correlation-ID": correlation_id},
    )
    pieces: list[str] = []
    usage = None
    finish_reason = None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces += [choice.delta.content] if choice.delta.content else []
            finish_reason = choice.finish_reason or finish_reason
    assert "".join(pieces) == expected
    assert len(pieces) > 1, "it was not streamed"
    assert finish_reason == "length"
    assert usage is not None
    assert usage.completion_tokens == MAX_TOKENS

    [row] = wait_until(
        lambda: rows(
            shared_platform.endpoints["postgres"],
            "SELECT * FROM chat_history WHERE correlation_id = %s",
            correlation_id,
        ),
        seconds=240,
    )
    assert (row["model"], row["backend"]) == (MODEL_ALIAS, "llamacpp")
    assert row["status"] == "completed"
    assert row["is_streaming"]
    assert row["messages"] == request["messages"]
    assert row["answer"]["content"] == expected
    assert row["parameters"]["seed"] == 11
    assert row["finish_reason"] == "length"
    assert row["prompt_tokens"] == usage.prompt_tokens
    assert row["completion_tokens"] == MAX_TOKENS
    assert not row["is_usage_estimate"]
    assert row["first_token_seconds"] < row["duration_seconds"]


def test_documents_go_into_the_prompt(direct: OpenAI, through_gateway: OpenAI) -> None:
    """The prompt has more tokens when passages were found, and the answer names them."""
    request = _request("At which water level does the spillway gate open?")
    plain = through_gateway.chat.completions.create(**_not_retrieved(request))
    grounded = through_gateway.chat.completions.create(**request)
    assert plain.usage is not None
    assert grounded.usage is not None
    assert grounded.usage.prompt_tokens > plain.usage.prompt_tokens
    sources = (grounded.model_extra or {})["sources"]
    assert sources[0]["source"].endswith("spillway.md")


def test_refusal_of_the_server_reaches_the_client(direct: OpenAI, through_gateway: OpenAI) -> None:
    """llama.cpp's own words on a prompt that its context has no room for."""
    request = _not_retrieved(_request("flood " * 2000))
    with pytest.raises(openai.BadRequestError) as refusal:
        through_gateway.chat.completions.create(**request)
    assert "context" in str(refusal.value)
