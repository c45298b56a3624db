"""Anthropic's Python SDK with a real llama.cpp server behind the gateway."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.gateway.llamacpp_gateway import gateway_of_llamacpp, running_llamacpp
from tests.support.llamacpp_server import MODEL_ALIAS

ASK: dict[str, Any] = {
    "model": MODEL_ALIAS,
    "max_tokens": 12,
    "system": "You watch the weir.",
    "messages": [{"role": "user", "content": "Is the weir gate open?"}],
    "extra_body": {"temperature": 0.0},
}


@pytest.fixture(scope="module")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server's URL."""
    with running_llamacpp(tmp_path_factory.mktemp("llamacpp")) as url:
        yield url


@pytest.fixture(
    scope="module", params=[("chat",), ("chat", "messages")], ids=["translated", "native"]
)
def sdk(
    llamacpp: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[anthropic.Anthropic]:
    folder = tmp_path_factory.mktemp("gateway")
    with (
        gateway_of_llamacpp(llamacpp, folder, apis=request.param) as gateway,
        anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client,
    ):
        yield client


def test_streamed_and_whole_answer_agree(sdk: anthropic.Anthropic) -> None:
    whole = sdk.messages.create(**ASK)
    with sdk.messages.stream(**ASK) as stream:
        pieces = list(stream.text_stream)
        streamed = stream.get_final_message()
    (block,) = whole.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert block.text
    assert len(pieces) > 1
    assert [each.to_dict() for each in streamed.content] == [block.to_dict()]
    assert whole.stop_reason == streamed.stop_reason == "max_tokens"
    assert whole.usage.output_tokens == streamed.usage.output_tokens == 12


def test_behaviour_9_the_count_is_what_the_server_reports(sdk: anthropic.Anthropic) -> None:
    prompt = {name: ASK[name] for name in ("model", "system", "messages")}
    count = sdk.messages.count_tokens(**prompt)
    usage = sdk.messages.create(**ASK).usage
    assert count.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert (count.model_extra or {})["is_estimate"] is False


def test_refusal_of_the_server_is_told_in_anthropics_envelope(sdk: anthropic.Anthropic) -> None:
    flood = [{"role": "user", "content": "flood " * 4000}]
    with pytest.raises(anthropic.BadRequestError, match="context") as refusal:
        sdk.messages.create(**{**ASK, "messages": flood})
    assert refusal.value.type == "invalid_request_error"


def test_model_is_listed(sdk: anthropic.Anthropic) -> None:
    assert [model.id for model in sdk.models.list()] == [MODEL_ALIAS]
