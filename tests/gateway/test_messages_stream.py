"""Chunks of a chat completion as the events of a Messages stream, without a network."""

import json
from typing import Any

import pytest

from gateway.anthropic.answers import SIGNATURE, message_of
from gateway.anthropic.stream import MessageStream
from gateway.openai.accumulator import AnswerAccumulator
from gateway.openai.chunks import ChatChunk, read_chunk
from gateway.openai.sse import SseEvent
from tests.gateway.anthropic_stream import MessageEvent, blocks_of, read_events

Fields = dict[str, Any]


def call(index: int | None, arguments: str = "", **fields: Any) -> Fields:
    function = {"name": fields.pop("name", None), "arguments": arguments}
    return {"index": index, "function": function, **fields}


def run(*deltas: Fields, finish_reason: str | None = "stop", **choice: Any) -> list[MessageEvent]:
    """Return the events of a stream with these deltas, read as the gateway reads it."""
    stream = MessageStream(model="tiny", stop_sequences=["END"])
    recorder = AnswerAccumulator()
    parts = [stream.start({})]
    choices: list[Fields] = [{"index": 0, "delta": delta} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason, **choice})
    for each in choices:
        data = json.dumps({"choices": [each]}).encode()
        event = SseEvent(b"", data)
        recorder.add(event)
        assert event.chunk is not None
        parts.append(stream.add(event.chunk))
    return read_events(b"".join([*parts, stream.finish()]))


def whole(message: Fields, **choice: Any) -> Fields:
    """Return the same as a complete answer."""
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    completion: ChatChunk | None = read_chunk(json.dumps(body).encode())
    assert completion is not None
    return message_of(completion, model="tiny", stop_sequences=["END"])


def end_of(events: list[MessageEvent]) -> Fields:
    assert [event.name for event in events[-2:]] == ["message_delta", "message_stop"]
    delta: Fields = events[-2].data["delta"]
    return delta


def test_text() -> None:
    events = run({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."})
    assert [event.name for event in events] == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert blocks_of(events) == [{"type": "text", "text": "Hello."}]
    assert end_of(events) == {"stop_reason": "end_turn", "stop_sequence": None}


def test_behaviour_2_arguments_in_one_chunk_arrive_as_deltas() -> None:
    events = run({"tool_calls": [call(0, '{"x": 1}', id="a", name="add")]})
    start = next(event for event in events if event.name == "content_block_start")
    assert start.data["content_block"] == {
        "type": "tool_use",
        "id": "a",
        "name": "add",
        "input": {},
    }
    deltas = [event.data["delta"] for event in events if event.name == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": '{"x": 1}'}]


@pytest.mark.parametrize("finish_reason", ["tool_calls", "stop", None])
def test_behaviour_3_tool_use_is_the_stop_reason_whatever_the_backend_says(
    finish_reason: str | None,
) -> None:
    events = run(
        {"content": ""},
        {"content": "\n\n"},
        {"tool_calls": [call(0, "{}", id="a", name="add")]},
        finish_reason=finish_reason,
    )
    assert end_of(events)["stop_reason"] == "tool_use"
    assert [block["type"] for block in blocks_of(events)] == ["tool_use"]


def test_behaviour_3_no_empty_leading_text_in_a_complete_answer() -> None:
    calls = [{"id": "a", "function": {"name": "add", "arguments": "{}"}}]
    message = whole({"content": "\n\n", "tool_calls": calls})
    assert [block["type"] for block in message["content"]] == ["tool_use"]
    assert message["stop_reason"] == "tool_use"


def test_behaviour_4_blocks_start_and_stop_in_turn_whatever_the_order() -> None:
    """Two calls whose arguments come by turns, text in between, a name that comes late."""
    events = run(
        {"tool_calls": [call(0, '{"x":', id="a", name="add"), call(1, '{"y":', id="b")]},
        {"tool_calls": [call(1, "2}", name="sub")], "content": "text"},
        {"tool_calls": [call(0, "1}")]},
        {"content": " more"},
        {"tool_calls": [call(2, "", id="c", name="noop")]},
        {"reasoning_content": "Hm."},
    )
    assert blocks_of(events) == [
        {"type": "tool_use", "id": "a", "name": "add", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "sub", "input": {"y": 2}},
        {"type": "text", "text": "text more"},
        {"type": "tool_use", "id": "c", "name": "noop", "input": {}},
        {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
    ]


def test_behaviour_5_text_and_calls_in_one_chunk_lose_neither() -> None:
    calls = [call(0, '{"x":1}', id="a", name="add"), call(1, '{"y":2}', id="b", name="sub")]
    blocks = blocks_of(run({"content": "Two sums.", "tool_calls": calls}))
    assert [block.get("text") or block["input"] for block in blocks] == [
        "Two sums.",
        {"x": 1},
        {"y": 2},
    ]


def test_behaviour_5_calls_without_an_index() -> None:
    blocks = blocks_of(
        run(
            {"tool_calls": [call(None, "{", id="a", name="add")]},
            {"tool_calls": [call(None, "}")]},
            {"tool_calls": [call(None, "{}", id="b", name="sub")]},
        )
    )
    assert [block["name"] for block in blocks] == ["add", "sub"]


def test_behaviour_8_reasoning_comes_first_and_has_one_signature() -> None:
    thinking = {"type": "thinking", "thinking": "I think.", "signature": SIGNATURE}
    expected = [thinking, {"type": "text", "text": "Yes."}]
    events = run({"reasoning": "I "}, {"reasoning": "think.", "content": "Ye"}, {"content": "s."})
    assert blocks_of(events) == expected
    assert whole({"reasoning_content": "I think.", "content": "Yes."})["content"] == expected
    types = [event.data["delta"]["type"] for event in events if event.name.endswith("block_delta")]
    assert types.count("signature_delta") == 1


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"finish_reason": "length"}, ("max_tokens", None)),
        ({"finish_reason": "content_filter"}, ("refusal", None)),
        ({"finish_reason": "stop", "stop_reason": "END"}, ("stop_sequence", "END")),
        ({"finish_reason": "stop", "stop_reason": 128009}, ("end_turn", None)),
        ({"finish_reason": "stop", "stop_reason": "other"}, ("end_turn", None)),
        ({"finish_reason": "tool_calls"}, ("end_turn", None)),
    ],
)
def test_stop_reasons(choice: Fields, expected: tuple[str, str | None]) -> None:
    streamed = end_of(run({"content": "Yes"}, **choice))
    message = whole({"content": "Yes"}, **choice)
    assert (streamed["stop_reason"], streamed["stop_sequence"]) == expected
    assert (message["stop_reason"], message["stop_sequence"]) == expected


def test_a_call_cut_off_by_the_token_limit_is_no_call() -> None:
    calls = [call(0, '{"x": [1,', id="a", name="add")]
    events = run({"tool_calls": calls}, finish_reason="length")
    assert end_of(events)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ("null", {}),
        ('{"x": 1}', {"x": 1}),
        ("[1]", {"unparsed_arguments": "[1]"}),
        ("x + 1", {"unparsed_arguments": "x + 1"}),
    ],
)
def test_input_is_an_object_whatever_the_model_wrote(arguments: str, expected: Fields) -> None:
    halves = (arguments[:2], arguments[2:])
    deltas = [call(0, halves[0], id="a", name="add"), call(0, halves[1])]
    (block,) = blocks_of(run(*({"tool_calls": [delta]} for delta in deltas)))
    assert block["input"] == expected
    calls = [{"id": "a", "function": {"name": "add", "arguments": arguments}}]
    message = whole({"content": None, "tool_calls": calls})
    assert json.loads(bytes(message["content"][0]["input"])) == expected


def test_an_answer_of_nothing_is_a_message_of_no_blocks() -> None:
    events = run({"role": "assistant"})
    assert blocks_of(events) == []
    assert end_of(events)["stop_reason"] == "end_turn"
    assert whole({"content": ""})["content"] == []


def test_behaviour_7_usage_counts_the_cache_apart() -> None:
    stream = MessageStream(model="tiny", stop_sequences=[])
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    for body in ({"choices": [], "usage": usage}, {"choices": []}, {}, {"choices": [{"index": 0}]}):
        chunk = read_chunk(json.dumps(body).encode())
        assert chunk is not None
        assert stream.add(chunk) == b""
    events = read_events(stream.finish())
    assert events[0].data["usage"] == {
        "input_tokens": 5,
        "cache_read_input_tokens": 4,
        "output_tokens": 2,
    }
