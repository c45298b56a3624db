"""Whatever a backend streams, OpenAI's SDK takes it as a response, and it ends as it must."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from openai import AsyncOpenAI

from tests.conformance.deliveries import PlayedStream, any_streams, profile, turns, whole_streams
from tests.conformance.in_process import MODEL, Delivery, InProcessGateway, in_process_gateway
from tests.conformance.replay import FAILURE
from tests.conformance.sse_events import NamedEvent, read_events
from tests.conformance.turns import calls_of
from tests.support.recorded_answers import RECORDERS, Turn

ASK: Any = {
    "model": MODEL,
    "input": "?",
    "store": False,
    "tools": [
        {"type": "function", "name": name, "parameters": {"type": "object"}, "strict": False}
        for name in ("open_gate", "read_level")
    ],
}
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGateway]:
    with in_process_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def _sdk(gateway: InProcessGateway) -> AsyncOpenAI:
    return AsyncOpenAI(
        base_url="http://gateway/v1",
        api_key="x",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=gateway.transport),
    )


def stream_response(
    gateway: InProcessGateway, delivery: Delivery
) -> tuple[list[Any], openai.APIError | None]:
    """Return the events that the SDK saw, and the error that it raised."""
    gateway.delivery = delivery

    async def run() -> tuple[list[Any], openai.APIError | None]:
        events = []
        try:
            async with _sdk(gateway) as sdk:
                async for event in await sdk.responses.create(stream=True, **ASK):
                    events.append(event)  # noqa: PERF401 (kept where it breaks off)
        except openai.APIError as error:
            return events, error
        return events, None

    return gateway.runner.run(run())


def parts_of(response: Any) -> tuple[str, str, list[tuple[str, str, Any]]]:
    """Return text, reasoning and calls of a response as JSON."""
    text, reasoning, calls = "", "", []
    for item in response["output"]:
        if item["type"] == "message":
            text += "".join(part["text"] for part in item["content"])
        elif item["type"] == "reasoning":
            reasoning += "".join(part["text"] for part in item.get("content") or ())
        else:
            calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
    return text, reasoning, calls


def expected_parts(turn: Turn) -> tuple[str, str, list[tuple[str, str, Any]]]:
    return turn.text, turn.reasoning, calls_of(turn)


def check_events(events: list[NamedEvent]) -> None:
    """In order, each with its number; deltas only within an item; items add up to the response.

    A call stays open as long as its arguments may go on, so an item may begin within another.
    """
    assert [event.data["sequence_number"] for event in events] == list(range(len(events)))
    assert [event.name for event in events[:2]] == ["response.created", "response.in_progress"]
    opened: dict[int, str] = {}
    done: dict[int, Any] = {}
    for event in events[2:]:
        assert event.data["type"] == event.name
        if event.name == "response.output_item.added":
            index = event.data["output_index"]
            assert index == len(opened) + len(done)
            opened[index] = event.data["item"]["id"]
        elif event.name == "response.output_item.done":
            index = event.data["output_index"]
            assert event.data["item"]["id"] == opened.pop(index)
            done[index] = event.data["item"]
        elif event.name in _ENDS:
            assert event is events[-1]
            if event.name == "response.completed":
                assert not opened
                assert event.data["response"]["output"] == [done[index] for index in sorted(done)]
        elif event.name != "error":
            assert opened[event.data["output_index"]] == event.data["item_id"]
            if event.name == "response.output_text.delta":
                assert event.data["logprobs"] == []


@given(whole_streams())
@profile(120)
def test_whole_stream_reaches_the_client_whole(
    gateway: InProcessGateway, stream: PlayedStream
) -> None:
    seen, error = stream_response(gateway, stream.delivery)
    assert error is None
    events = read_events(gateway.sent)
    check_events(events)
    is_cut = stream.turn.finish_reason == "length"
    assert events[-1].name == ("response.incomplete" if is_cut else "response.completed")
    assert parts_of(events[-1].data["response"]) == expected_parts(stream.turn)
    assert seen[-1].response.output_text == stream.turn.text


@given(any_streams())
@profile(250)
def test_stream_ends_as_it_must(gateway: InProcessGateway, stream: PlayedStream) -> None:
    seen, error = stream_response(gateway, stream.delivery)
    if not stream.delivery.pieces:
        assert isinstance(error, openai.InternalServerError)
        return
    events = read_events(gateway.sent)
    check_events(events)
    assert b"[DONE]" not in gateway.sent
    last = events[-1]
    if last.name in ("response.completed", "response.incomplete"):
        assert error is None
        assert stream.ending != "error"
        assert parts_of(last.data["response"]) == expected_parts(stream.turn)
    else:
        assert stream.ending != "whole"
        assert last.name == "response.failed"
        assert last.data["response"]["status"] == "failed"
        assert last.data["response"]["error"]["message"]
        if stream.ending == "error":
            assert FAILURE in last.data["response"]["error"]["message"]
        text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
        assert stream.turn.text.startswith(text)


@given(turns())
@profile(50)
def test_streamed_and_whole_answer_agree(gateway: InProcessGateway, turn: Turn) -> None:
    for recorder in RECORDERS:
        stream_response(gateway, Delivery(recorder.stream(turn)))
        streamed = read_events(gateway.sent)[-1].data["response"]
        gateway.delivery = Delivery((recorder.body(turn),), content_type="application/json")

        async def create() -> None:
            async with _sdk(gateway) as sdk:
                await sdk.responses.create(**ASK)

        gateway.runner.run(create())
        whole = json.loads(gateway.sent)
        assert parts_of(whole) == parts_of(streamed) == expected_parts(turn)
        assert whole["status"] == streamed["status"]
        assert whole["usage"] == streamed["usage"]
