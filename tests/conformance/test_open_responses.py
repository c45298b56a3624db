"""The cases of the Open Responses compliance suite, checked by the specification's own types.

Its runner is not published as a package; its seven cases and what it asks of each are at
https://www.openresponses.org/compliance.
"""

import json
from typing import Any

import httpx2
import openresponses_types as spec
import pytest
from pydantic import BaseModel

from tests.conformance.replay import replay
from tests.conformance.sse_events import read_events
from tests.conformance.turns import ONE_CALL, PLAIN, REASONED
from tests.gateway.conftest import start_gateway
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.recorded_answers import Recorder, Turn

__all__ = ["start_gateway"]

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOL = {
    "type": "function",
    "name": "open_gate",
    "description": "Open one gate of the weir",
    "parameters": {
        "type": "object",
        "properties": {"gate": {"type": "string", "description": "north or south"}},
        "required": ["gate"],
    },
}


def message(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


CASES: dict[str, tuple[Turn, dict[str, Any]]] = {
    "basic-response": (PLAIN, {"input": [message("user", "Say hello in exactly 3 words.")]}),
    "reasoning": (REASONED, {"input": [message("user", "Think, then answer.")]}),
    "system-prompt": (
        PLAIN,
        {"input": [message("system", "Speak as a pirate."), message("user", "Say hello.")]},
    ),
    "tool-calling": (ONE_CALL, {"input": [message("user", "Open a gate.")], "tools": [TOOL]}),
    "image-input": (
        PLAIN,
        {
            "input": [
                message(
                    "user",
                    [
                        {"type": "input_text", "text": "What is in this image?"},
                        {"type": "input_image", "image_url": PIXEL},
                    ],
                )
            ]
        },
    ),
    "multi-turn": (
        PLAIN,
        {
            "input": [
                message("user", "My name is Alice."),
                message("assistant", "Hello Alice! How can I help you?"),
                message("user", "What is my name?"),
            ]
        },
    ),
}
cases = pytest.mark.parametrize("case", CASES)


EVENT_TYPES: dict[str, type[BaseModel]] = {
    str(kind.value): value
    for name, value in vars(spec).items()
    if name.endswith("StreamingEvent")
    for kind in value.model_fields["type"].annotation
}
OPENAI_NAMES = {
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
}
"""OpenAI's SDKs know these events by names other than the specification's."""


def check_response(response: Any) -> spec.ResponseResource:
    """Return the response as the specification reads it; ValidationError says what is wrong."""
    return spec.ResponseResource.model_validate_json(json.dumps(response))


def has_expected_output(response: spec.ResponseResource, turn: Turn) -> bool:
    types = {str(getattr(item.type, "value", item.type)) for item in response.output}
    return types >= {
        *(["message"] if turn.text else []),
        *(["function_call"] if turn.calls else []),
        *(["reasoning"] if turn.reasoning else []),
    }


@cases
def test_response(
    gateway: RunningGateway, upstream: ScriptedUpstream, recorder: Recorder, case: str
) -> None:
    turn, request = CASES[case]
    upstream.script = replay(recorder, turn)
    answer = httpx2.post(f"{gateway.url}/v1/responses", json={"model": recorder.model, **request})
    assert answer.status_code == 200, answer.text
    response = check_response(answer.json())
    assert response.status == "completed"
    assert has_expected_output(response, turn)


@cases
def test_stream(
    gateway: RunningGateway, upstream: ScriptedUpstream, recorder: Recorder, case: str
) -> None:
    turn, request = CASES[case]
    upstream.script = replay(recorder, turn)
    answer = httpx2.post(
        f"{gateway.url}/v1/responses", json={"model": recorder.model, "stream": True, **request}
    )
    assert answer.status_code == 200, answer.text
    events = [event for event in read_events(answer.content) if event.data != "[DONE]"]
    for event in events:
        assert event.name == event.data["type"]
        name = OPENAI_NAMES.get(event.name, event.name)
        EVENT_TYPES[name].model_validate_json(json.dumps({**event.data, "type": name}))
    names = [event.name for event in events]
    assert names[-1] == "response.completed"
    response = check_response(events[-1].data["response"])
    assert response.status == "completed"
    assert has_expected_output(response, turn)
    if turn.calls:
        added = [
            event.data["item"]["type"]
            for event in events
            if event.name in ("response.output_item.added", "response.output_item.done")
        ]
        assert added.count("function_call") == 2 * len(turn.calls)
        assert "response.function_call_arguments.delta" in names
        assert "response.function_call_arguments.done" in names
