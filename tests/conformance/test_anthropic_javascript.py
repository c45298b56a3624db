"""Messages by Anthropic's JavaScript SDK."""

from typing import Any

import pytest

from tests.conformance.javascript import require_packages, run_script
from tests.conformance.replay import FAILURE, FORMS, REFUSAL, play_what_is_asked
from tests.conformance.test_anthropic_python import stop_reason_of
from tests.conformance.turns import TURNS, calls_of
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.recorded_answers import RECORDERS, Recorder, Turn


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    require_packages()


async def test_client_sees_every_answer(
    gateway: RunningGateway, upstream: ScriptedUpstream, recorder: Recorder
) -> None:
    upstream.script = play_what_is_asked()
    seen = await run_script("anthropic_messages.mjs", gateway.url, recorder.model, *TURNS)
    for name, turn in TURNS.items():
        expected = _expected(turn)
        assert seen["whole"][name] == expected, name
        for form in FORMS:
            assert seen["streamed"][name][form] == expected, (name, form)
    assert FAILURE in seen["failure"][1]
    assert seen["refusal"][0] == "BadRequestError"
    assert REFUSAL in seen["refusal"][1]
    assert seen["models"] == [each.model for each in RECORDERS]
    assert seen["input_tokens"] > 0


def _expected(turn: Turn) -> dict[str, Any]:
    return {
        "text": turn.text,
        "reasoning": turn.reasoning,
        "calls": [list(call) for call in calls_of(turn)],
        "stop_reason": stop_reason_of(turn),
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
    }
