"""Putting a streamed answer together."""

import json
from typing import Any

import pytest

from gateway.openai.accumulator import AnswerAccumulator
from gateway.openai.chunks import ChatChunk
from gateway.openai.sse import SseEvent


def read(accumulator: AnswerAccumulator, data: bytes) -> ChatChunk | None:
    event = SseEvent(b"data: " + data + b"\n\n", data)
    accumulator.add(event)
    return event.chunk


def add(accumulator: AnswerAccumulator, delta: dict[str, Any], **choice: Any) -> None:
    body = {"choices": [{"index": 0, "delta": delta, **choice}]}
    assert read(accumulator, json.dumps(body).encode()) is not None


def test_text_reasoning_and_finish_reason() -> None:
    accumulator = AnswerAccumulator()
    add(accumulator, {"role": "assistant", "content": None})
    assert not accumulator.has_output
    add(accumulator, {"reasoning_content": "Hm"})
    add(accumulator, {"reasoning": "m."})
    add(accumulator, {"content": "Yes"})
    add(accumulator, {"content": "."}, finish_reason="stop")
    answer = accumulator.answer()
    assert answer.message == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "Hmm.",
    }
    assert answer.finish_reason == "stop"


def test_only_choice_zero_is_recorded() -> None:
    accumulator = AnswerAccumulator()
    add(accumulator, {"content": "first"})
    add(accumulator, {"content": "second"}, index=1, finish_reason="length")
    answer = accumulator.answer()
    assert answer.message == {"role": "assistant", "content": "first"}
    assert answer.finish_reason is None


def test_tool_calls_without_index_or_with_object_arguments() -> None:
    accumulator = AnswerAccumulator()
    add(accumulator, {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]})
    add(accumulator, {"tool_calls": [{"function": {"arguments": "}"}}]})
    add(
        accumulator, {"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": {"x": 1}}}]}
    )
    calls = accumulator.answer().tool_calls
    assert [(call.tool_call_id, call.name, call.arguments) for call in calls] == [
        ("a", "f", "{}"),
        ("b", "g", '{"x":1}'),
    ]
    message = accumulator.answer().message
    assert message is not None
    assert message["content"] is None


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": [{}]}',
        b'{"choices": [{"index": 0, "delta": {}}]}',
        b'{"choices": [{"index": 0, "delta": null}]}',
        b"[]",
        b"no json",
        b'{"choices": [{"index": 0, "delta": {"content": 7}}]}',
    ],
)
def test_odd_chunks_are_survived(data: bytes) -> None:
    accumulator = AnswerAccumulator()
    read(accumulator, data)
    assert accumulator.answer().message is None
    assert not accumulator.is_finished


def test_usage_only_chunk() -> None:
    accumulator = AnswerAccumulator()
    usage = b'{"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}'
    chunk = read(accumulator, b'{"choices": [], "usage": ' + usage + b"}")
    assert chunk is not None
    assert chunk.is_usage_only
    assert accumulator.answer().usage.cache_read_tokens == 2
    assert accumulator.answer().usage.prompt_tokens == 3
    with_choice = b'{"choices": [{"delta": {}}], "usage": {"prompt_tokens": 4}}'
    chunk = read(accumulator, with_choice)
    assert chunk is not None
    assert not chunk.is_usage_only
    assert accumulator.answer().usage.prompt_tokens == 4


def test_error_in_mid_stream() -> None:
    accumulator = AnswerAccumulator()
    read(accumulator, b'{"error": {"message": "boom"}}')
    assert accumulator.error == "boom"
    other = AnswerAccumulator()
    read(other, b'{"error": "plain"}')
    assert other.error == '"plain"'
