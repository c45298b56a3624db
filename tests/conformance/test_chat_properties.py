"""Whatever a backend streams, OpenAI's SDK takes it, and it ends as it must."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from openai import AsyncOpenAI

from tests.conformance.deliveries import PlayedStream, any_streams, profile, turns, whole_streams
from tests.conformance.in_process import (
    MODEL,
    Delivery,
    InProcessGateway,
    in_process_gateway,
)
from tests.conformance.replay import FAILURE
from tests.conformance.sse_events import read_events
from tests.conformance.turns import calls_of
from tests.support.recorded_answers import RECORDERS, Turn


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGateway]:
    with in_process_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@dataclass
class Seen:
    """What a client put together."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, list[str]] = field(default_factory=dict)
    """ID, name and arguments by index."""
    finish_reason: str | None = None
    error: openai.APIError | None = None

    def add(self, chunk: Any) -> None:
        for choice in chunk.choices or ():
            self.finish_reason = choice.finish_reason or self.finish_reason
            delta = choice.delta
            if delta is None:
                continue
            self.text += delta.content or ""
            extra = delta.model_extra or {}
            self.reasoning += extra.get("reasoning_content") or extra.get("reasoning") or ""
            for call in delta.tool_calls or ():
                parts = self.calls.setdefault(call.index, ["", "", ""])
                parts[0] += call.id or ""
                parts[1] += call.function.name or ""
                parts[2] += call.function.arguments or ""

    @property
    def decoded_calls(self) -> list[tuple[str, str, Any]]:
        return [
            (call_id, name, json.loads(arguments))
            for _, (call_id, name, arguments) in sorted(self.calls.items())
        ]


def ask(gateway: InProcessGateway, delivery: Delivery) -> Seen:
    """Stream one answer through the SDK."""
    gateway.delivery = delivery

    async def run() -> Seen:
        seen = Seen()
        http_client = httpx2.AsyncClient(transport=gateway.transport)
        async with AsyncOpenAI(
            base_url="http://gateway/v1", api_key="x", max_retries=0, http_client=http_client
        ) as sdk:
            try:
                async for chunk in await sdk.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "?"}], stream=True
                ):
                    seen.add(chunk)
            except openai.APIError as error:
                seen.error = error
        return seen

    return gateway.runner.run(run())


def check_text_is_what_came(seen: Seen, turn: Turn) -> None:
    assert turn.text.startswith(seen.text)
    assert turn.reasoning.startswith(seen.reasoning)


@given(whole_streams())
@profile(150)
def test_whole_stream_reaches_the_client_whole(
    gateway: InProcessGateway, stream: PlayedStream
) -> None:
    seen = ask(gateway, stream.delivery)
    assert seen.error is None
    assert (seen.text, seen.reasoning) == (stream.turn.text, stream.turn.reasoning)
    assert seen.decoded_calls == calls_of(stream.turn)
    assert seen.finish_reason == stream.turn.finish_reason
    assert gateway.sent.endswith(b"data: [DONE]\n\n")
    assert gateway.sent.count(b"data: [DONE]") == 1


@given(any_streams())
@profile(300)
def test_stream_ends_as_it_must(gateway: InProcessGateway, stream: PlayedStream) -> None:
    seen = ask(gateway, stream.delivery)
    check_text_is_what_came(seen, stream.turn)
    if not stream.delivery.pieces:
        assert isinstance(seen.error, openai.InternalServerError)
        return
    if seen.error is None:
        # Nothing of the answer is missing.
        assert stream.ending != "error"
        assert (seen.text, seen.finish_reason) == (stream.turn.text, stream.turn.finish_reason)
        assert seen.decoded_calls == calls_of(stream.turn)
        assert gateway.sent.endswith(b"data: [DONE]\n\n")
    else:
        assert stream.ending != "whole"
        assert b"[DONE]" not in gateway.sent
        last = read_events(gateway.sent)[-1].data["error"]
        assert last["message"]
        assert set(last) == {"message", "type", "param", "code"}
        if stream.ending == "error":
            assert FAILURE in seen.error.message


@given(turns())
@profile(60)
def test_streamed_and_whole_answer_agree(gateway: InProcessGateway, turn: Turn) -> None:
    for recorder in RECORDERS:
        streamed = ask(gateway, Delivery(recorder.stream(turn)))
        body = recorder.body(turn)
        gateway.delivery = Delivery((body,), content_type="application/json")
        answer = gateway.runner.run(_post(gateway))
        assert gateway.sent == body
        message = answer["choices"][0]["message"]
        assert (message["content"] or "") == streamed.text
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        assert reasoning == streamed.reasoning
        calls = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        assert calls == streamed.decoded_calls
        assert answer["choices"][0]["finish_reason"] == streamed.finish_reason


async def _post(gateway: InProcessGateway) -> Any:
    async with httpx2.AsyncClient(transport=gateway.transport) as client:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
        response = await client.post("http://gateway/v1/chat/completions", json=body)
        assert response.status_code == 200
        return response.json()
