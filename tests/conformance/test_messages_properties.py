"""Whatever a backend streams, Anthropic's SDK takes it, and it ends as it must."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic
from hypothesis import given

from tests.conformance.deliveries import PlayedStream, any_streams, profile, turns, whole_streams
from tests.conformance.in_process import MODEL, Delivery, InProcessGateway, in_process_gateway
from tests.conformance.replay import FAILURE
from tests.conformance.sse_events import NamedEvent, read_events
from tests.conformance.test_anthropic_python import stop_reason_of
from tests.conformance.turns import calls_of
from tests.support.recorded_answers import RECORDERS, Turn

ASK: Any = {
    "model": MODEL,
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "?"}],
    "tools": [
        {"name": name, "input_schema": {"type": "object"}} for name in ("open_gate", "read_level")
    ],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGateway]:
    with in_process_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def _sdk(gateway: InProcessGateway) -> AsyncAnthropic:
    return AsyncAnthropic(
        base_url="http://gateway",
        api_key="x",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=gateway.transport),
    )


def stream_message(
    gateway: InProcessGateway, delivery: Delivery
) -> tuple[Any, anthropic.APIError | None]:
    """Return the message that the SDK's helper put together as far as it came, and the error."""
    gateway.delivery = delivery

    async def run() -> tuple[Any, anthropic.APIError | None]:
        message = None
        try:
            async with _sdk(gateway) as sdk, sdk.messages.stream(**ASK) as stream:
                async for _ in stream:
                    message = stream.current_message_snapshot
        except anthropic.APIError as error:
            return message, error
        return message, None

    return gateway.runner.run(run())


def parts_of(message: Any) -> tuple[str, str, list[tuple[str, str, Any]]]:
    """Return text, reasoning and calls."""
    return (
        "".join(block.text for block in message.content if block.type == "text"),
        "".join(block.thinking for block in message.content if block.type == "thinking"),
        [
            (block.id, block.name, block.input)
            for block in message.content
            if block.type == "tool_use"
        ],
    )


def expected_parts(turn: Turn) -> tuple[str, str, list[tuple[str, str, Any]]]:
    return turn.text, turn.reasoning, calls_of(turn)


def check_blocks(events: list[NamedEvent]) -> None:
    """Start, deltas, stop for each block, from index 0; never a delta without a start."""
    assert events[0].name == "message_start"
    opened: dict[str, Any] | None = None
    index = 0
    kinds = {
        "text": {"text_delta"},
        "thinking": {"thinking_delta", "signature_delta"},
        "tool_use": {"input_json_delta"},
    }
    for event in events[1:]:
        assert event.data["type"] == event.name
        if event.name == "content_block_start":
            assert opened is None
            assert event.data["index"] == index
            opened = event.data["content_block"]
        elif event.name == "content_block_delta":
            assert opened is not None
            assert event.data["index"] == index
            assert event.data["delta"]["type"] in kinds[opened["type"]]
        elif event.name == "content_block_stop":
            assert opened is not None
            assert event.data["index"] == index
            opened, index = None, index + 1
        else:
            assert event.name in ("ping", "message_delta", "message_stop", "error")
            if event.name.startswith("message"):
                assert opened is None


@given(whole_streams())
@profile(120)
def test_whole_stream_reaches_the_client_whole(
    gateway: InProcessGateway, stream: PlayedStream
) -> None:
    message, error = stream_message(gateway, stream.delivery)
    assert error is None
    assert parts_of(message) == expected_parts(stream.turn)
    assert all(block.text for block in message.content if block.type == "text")
    assert message.stop_reason == stop_reason_of(stream.turn)
    events = read_events(gateway.sent)
    check_blocks(events)
    assert [event.name for event in events[-2:]] == ["message_delta", "message_stop"]


@given(any_streams())
@profile(250)
def test_stream_ends_as_it_must(gateway: InProcessGateway, stream: PlayedStream) -> None:
    message, error = stream_message(gateway, stream.delivery)
    if not stream.delivery.pieces:
        assert isinstance(error, anthropic.InternalServerError)
        return
    events = read_events(gateway.sent)
    check_blocks(events)
    if error is None:
        assert stream.ending != "error"
        assert parts_of(message) == expected_parts(stream.turn)
        assert message.stop_reason == stop_reason_of(stream.turn)
        assert events[-1].name == "message_stop"
    else:
        assert stream.ending != "whole"
        assert isinstance(error, anthropic.APIStatusError)
        assert events[-1].name == "error"
        assert {event.name for event in events}.isdisjoint({"message_stop"})
        assert set(events[-1].data["error"]) >= {"type", "message"}
        if stream.ending == "error":
            assert FAILURE in str(error)
        if message is not None:
            text, reasoning, _ = parts_of(message)
            assert stream.turn.text.startswith(text)
            assert stream.turn.reasoning.startswith(reasoning)


@given(turns())
@profile(50)
def test_streamed_and_whole_answer_agree(gateway: InProcessGateway, turn: Turn) -> None:
    for recorder in RECORDERS:
        streamed, error = stream_message(gateway, Delivery(recorder.stream(turn)))
        assert error is None
        gateway.delivery = Delivery((recorder.body(turn),), content_type="application/json")

        async def create() -> Any:
            async with _sdk(gateway) as sdk:
                return await sdk.messages.create(**ASK)

        whole = gateway.runner.run(create())
        assert parts_of(whole) == parts_of(streamed) == expected_parts(turn)
        assert whole.stop_reason == streamed.stop_reason
        assert whole.usage.output_tokens == streamed.usage.output_tokens
