"""Plays recorded answers back through the scripted upstream."""

import json

from aiohttp import web

from tests.gateway.scripted_upstream import Script, stream_script
from tests.support.recorded_answers import Recorder, Turn


def replay(
    recorder: Recorder, *turns: Turn, whole_calls: bool = False, mixes: bool = False
) -> Script:
    """Return a script that gives `turns` one after the other, and then the last again.

    It streams where the request asks for it, and tells the usage where that is asked for.
    """
    left = list(turns)

    async def script(request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        turn = left.pop(0) if len(left) > 1 else left[0]
        if not asked.get("stream"):
            return web.Response(body=recorder.body(turn), content_type="application/json")
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        events = recorder.stream(turn, usage=usage, whole_calls=whole_calls, mixes=mixes)
        return await stream_script(events)(request)

    return script
