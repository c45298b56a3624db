"""Plays recorded answers back through the scripted upstream."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from tests.conformance.turns import PLAIN, STRUCTURED, TURNS
from tests.gateway.scripted_upstream import Script, stream_script
from tests.support.recorded_answers import RECORDERS, Recorder, Turn

FORMS = ("deltas", "whole calls", "mixed chunks")
"""How a stream brings tool calls: see `recorded_answers.turns.deltas`."""

FAILURE = "out of memory"
REFUSAL = "the prompt is too long"

_PLAYABLE = {**TURNS, "structured": STRUCTURED, "failure": PLAIN, "refusal": PLAIN}
_WISH = re.compile(r"play (?P<turn>[a-z-]+) in (?P<form>[a-z ]+)")


def replay(recorder: Recorder, *turns: Turn, form: str = "deltas") -> Script:
    """Return a script that gives `turns` one after the other, and then the last again.

    It streams where the request asks for it, and tells the usage where that is asked for.
    """
    left = list(turns)

    async def script(request: web.Request) -> web.StreamResponse:
        turn = left.pop(0) if len(left) > 1 else left[0]
        return await _answer(request, json.loads(await request.read()), recorder, turn, form)

    return script


def play_what_is_asked() -> Script:
    """Return a script for a client in another process: the question names the turn.

    `play one-call in whole calls` is answered with that turn in that form by the recorder of the
    model. Once the conversation holds a tool's result, the answer is plain text.
    """

    async def script(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        recorder = next(each for each in RECORDERS if each.model == asked["model"])
        name, form = read_wish(asked["messages"])
        if name == "refusal":
            refusal = recorder.refusal(REFUSAL)
            return web.Response(status=400, body=refusal, content_type="application/json")
        if name == "failure" and asked.get("stream"):
            return await stream_script(failing_stream(recorder))(request)
        return await _answer(request, asked, recorder, _PLAYABLE[name], form)

    return script


def failing_stream(recorder: Recorder) -> list[bytes]:
    """Return a stream that begins and then breaks down."""
    return recorder.stream(PLAIN)[:3] + recorder.error_events(FAILURE)


def read_wish(messages: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the turn and the form that the conversation asks for."""
    if any(message["role"] == "tool" for message in messages):
        return "plain", "deltas"
    wish = _WISH.search(json.dumps(messages))
    assert wish is not None, messages
    return wish["turn"], wish["form"]


async def _answer(
    request: web.Request, asked: Mapping[str, Any], recorder: Recorder, turn: Turn, form: str
) -> web.StreamResponse:
    if not asked.get("stream"):
        return web.Response(body=recorder.body(turn), content_type="application/json")
    assert form in FORMS
    events = recorder.stream(
        turn,
        usage=bool((asked.get("stream_options") or {}).get("include_usage")),
        whole_calls=form == "whole calls",
        mixes=form == "mixed chunks",
    )
    return await stream_script(events)(request)
