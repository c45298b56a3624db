"""The answers that every backend kind is played with."""

import json
from typing import Any

from tests.support.recorded_answers import Call, Reasoning, Text, Turn

PLAIN = Turn((Text(("The weir ", "is open", ", \N{SNOWMAN} and ", "dry.")),))
CUT = Turn((Text(("The weir",)),), stop="length")
REASONED = Turn((Reasoning(("The level ", "is low, so")), Text(("It is ", "open."))))
STRUCTURED = Turn((Text(('{"gate": ', '"north", "metres":', " 2.5}")),))
ONE_CALL = Turn((Call("call_1", "open_gate", ('{"gate"', ': "north"', "}")),))
PARALLEL_CALLS = Turn(
    (
        Call("call_1", "open_gate", ('{"gate": "no', 'rth"}')),
        Call("call_2", "read_level", ("{}",)),
        Call("call_3", "open_gate", ('{"gate": ', '"south"}')),
    )
)
TEXT_AND_CALLS = Turn(
    (
        Reasoning(("First the gate.",)),
        Text(("I open ", "the gate.")),
        Call("call_1", "open_gate", ('{"gate": "north"', "}")),
        Call("call_2", "read_level", ("{", "}")),
    )
)

TURNS = {
    "plain": PLAIN,
    "cut": CUT,
    "reasoned": REASONED,
    "one-call": ONE_CALL,
    "parallel-calls": PARALLEL_CALLS,
    "text-and-calls": TEXT_AND_CALLS,
}
TOOL_TURNS = {name: turn for name, turn in TURNS.items() if turn.calls}

FUNCTIONS = {
    "open_gate": {
        "type": "object",
        "properties": {"gate": {"type": "string", "enum": ["north", "south"]}},
        "required": ["gate"],
        "additionalProperties": False,
    },
    "read_level": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The parameters' JSON Schema by function name."""


def calls_of(turn: Turn) -> list[tuple[str, str, Any]]:
    """Return the ID, the name and the decoded arguments of each call."""
    return [
        (call.tool_call_id, call.name, json.loads("".join(call.arguments))) for call in turn.calls
    ]
