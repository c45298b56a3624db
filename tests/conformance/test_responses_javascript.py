"""Responses by OpenAI's JavaScript SDK."""

from typing import Any

import pytest

from tests.conformance.javascript import require_packages, run_script
from tests.conformance.replay import FORMS, REFUSAL, play_what_is_asked
from tests.conformance.turns import TURNS, calls_of
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.recorded_answers import Recorder, Turn


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    require_packages()


async def test_client_sees_every_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = play_what_is_asked()
    seen = await run_script("openai_responses.mjs", f"{gateway.url}/v1", recorder.model, *TURNS)
    for name, turn in TURNS.items():
        expected = _expected(turn)
        assert seen["whole"][name] == expected, name
        for form in FORMS:
            assert seen["streamed"][name][form] == expected, (name, form)
    assert seen["structured"] == {"gate": "north", "metres": 2.5}
    assert seen["refusal"][0] == "BadRequestError"
    assert REFUSAL in seen["refusal"][1]


def _expected(turn: Turn) -> dict[str, Any]:
    return {
        "text": turn.text,
        "reasoning": turn.reasoning,
        "calls": [list(call) for call in calls_of(turn)],
        "status": "incomplete" if turn.finish_reason == "length" else "completed",
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
    }
