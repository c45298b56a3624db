"""Hypothesis strategies: any answer, in any server's format, however it is cut or ends."""

import json
import os
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st

from tests.conformance.in_process import Delivery
from tests.conformance.replay import FAILURE, FORMS
from tests.support.recorded_answers import (
    DONE,
    LlamaCppRecorder,
    LmStudioRecorder,
    Reasoning,
    Recorder,
    Text,
    Turn,
    VllmRecorder,
    event,
)
from tests.support.recorded_answers import Call as ToolCall

_EXAMPLES = "SLUICE_CONFORMANCE_EXAMPLES"

RECORDERS: tuple[Recorder, ...] = (
    VllmRecorder(),
    VllmRecorder(reasoning_field="reasoning_content"),
    LlamaCppRecorder(),
    LmStudioRecorder(),
)

_NOISE = (
    b": keep-alive\n\n",
    event({"choices": []}),
    event({"choices": None, "x_unknown": {"a": [1]}}),
    event({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}),
    event({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": None}]}),
    event({"choices": [{"index": 0, "finish_reason": None}]}),
)
"""What servers and proxies send in between, and what a client must not stumble over."""


def profile(examples: int) -> settings:
    """Return how much is tried: always the same few, or as many others as the variable says."""
    asked = os.environ.get(_EXAMPLES)
    return settings(
        max_examples=int(asked) if asked else examples,
        derandomize=not asked,
        deadline=None,
        database=None,
    )


@dataclass(frozen=True)
class PlayedStream:
    """A stream as it was to be, and as it comes."""

    turn: Turn
    recorder: Recorder
    delivery: Delivery
    ending: str
    """`whole`, `no done`, `error` (the server's own error event) or `cut`."""

    def __repr__(self) -> str:
        return (
            f"{self.ending} {type(self.recorder).__name__} {self.turn}"
            f" breaks_off={self.delivery.breaks_off} {self.delivery.pieces!r}"
        )


_text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\\n\r\u2028\N{SNOWMAN}{}[]'),
    min_size=1,
    max_size=12,
)
_pieces = st.lists(_text, min_size=1, max_size=3).map(tuple)
_values = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), _text)


@st.composite
def _arguments(draw: st.DrawFn) -> tuple[str, ...]:
    """JSON of an object, cut anywhere."""
    arguments = draw(st.dictionaries(st.sampled_from(["gate", "level", "ø"]), _values))
    text = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
    at = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=3)))
    return tuple(text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True))


@st.composite
def turns(draw: st.DrawFn) -> Turn:
    """Reasoning at most once and first, then texts and calls in any order."""
    kinds = draw(st.lists(st.sampled_from(["text", "call"]), max_size=4))
    parts: list[Reasoning | Text | ToolCall] = []
    if draw(st.booleans()):
        parts.append(Reasoning(draw(_pieces)))
    for number, kind in enumerate(kinds):
        if kind == "text":
            parts.append(Text(draw(_pieces)))
        else:
            name = draw(st.sampled_from(["open_gate", "read_level"]))
            parts.append(ToolCall(f"call_{number}", name, draw(_arguments())))
    return Turn(tuple(parts), stop=draw(st.sampled_from(["stop", "length"])))


@st.composite
def whole_streams(draw: st.DrawFn) -> PlayedStream:
    """Streams that come to their end, cut into pieces and with noise in between."""
    turn = draw(turns())
    recorder = draw(st.sampled_from(RECORDERS))
    events = _events(draw, turn, recorder)
    return PlayedStream(turn, recorder, Delivery(_cut(draw, b"".join(events))), "whole")


@st.composite
def any_streams(draw: st.DrawFn) -> PlayedStream:
    """Streams that come to their end or to none."""
    turn = draw(turns())
    recorder = draw(st.sampled_from(RECORDERS))
    events = _events(draw, turn, recorder)
    ending = draw(st.sampled_from(["whole", "no done", "error", "cut", "cut"]))
    breaks_off = False
    if ending == "error":
        at = draw(st.integers(0, len(events) - 1))
        events = events[:at] + recorder.error_events(FAILURE)
    elif ending == "no done":
        events.remove(DONE)
        breaks_off = draw(st.booleans())
    content = b"".join(events)
    if ending == "cut":
        content = content[: draw(st.integers(0, len(content) - len(DONE) - 1))]
        breaks_off = draw(st.booleans())
    delivery = Delivery(_cut(draw, content), breaks_off=breaks_off)
    return PlayedStream(turn, recorder, delivery, ending)


def _events(draw: st.DrawFn, turn: Turn, recorder: Recorder) -> list[bytes]:
    form = draw(st.sampled_from(FORMS))
    events = recorder.stream(
        turn,
        usage=draw(st.booleans()),
        whole_calls=form == "whole calls",
        mixes=form == "mixed chunks",
    )
    for noise in draw(st.lists(st.sampled_from(_NOISE), max_size=3)):
        events.insert(draw(st.integers(0, len(events) - 1)), noise)
    return events


def _cut(draw: st.DrawFn, content: bytes) -> tuple[bytes, ...]:
    """Return `content` in pieces as a network might bring them."""
    if len(content) < 2:
        return (content,) if content else ()
    if draw(st.integers(0, 9)) == 0:
        return tuple(content[at : at + 1] for at in range(len(content)))
    at = sorted(draw(st.sets(st.integers(1, len(content) - 1), max_size=8)))
    bounds = zip([0, *at], [*at, len(content)], strict=True)
    return tuple(content[start:end] for start, end in bounds)
