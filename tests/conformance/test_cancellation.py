"""A client that goes away: the backend sees its connection closed at once, in every dialect."""

import asyncio
import statistics
import time

import aiohttp
import pytest
from aiohttp import web

from tests.conformance.dialects import DIALECTS, Dialect
from tests.conformance.turns import PLAIN
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.recorded_answers import Recorder

ROUNDS = 5
MOST_SECONDS = 1.0
"""What a loaded machine is allowed; at rest it is to be a tenth, see docs/conformance.md."""


class UnendingAnswer:
    """A script that begins to answer, never ends, and notes when it is cut off."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self.has_begun = asyncio.Event()
        self.cut_at: asyncio.Future[float] = self._loop.create_future()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Run in the upstream's own loop."""
        asked = await request.json()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            if asked.get("stream"):
                await response.prepare(request)
                await response.write(b"".join(self._recorder.stream(PLAIN)[:3]))
            self._loop.call_soon_threadsafe(self.has_begun.set)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self._loop.call_soon_threadsafe(self.cut_at.set_result, time.monotonic())
            raise
        return response


@pytest.mark.parametrize("is_streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_backend_sees_that_the_client_is_gone(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    recorder: Recorder,
    dialect: Dialect,
    is_streaming: bool,
    request: pytest.FixtureRequest,
) -> None:
    seconds = []
    for _ in range(ROUNDS):
        answer = UnendingAnswer(recorder)
        upstream.script = answer
        async with aiohttp.ClientSession() as client:
            asking = asyncio.create_task(
                client.post(
                    gateway.url + dialect.path,
                    json=dialect.ask(model=recorder.model, stream=is_streaming),
                )
            )
            async with asyncio.timeout(20):
                await answer.has_begun.wait()
                if is_streaming:
                    response = await asking
                    await response.content.readany()
                    left_at = time.monotonic()
                    response.close()
                else:
                    left_at = time.monotonic()
                    asking.cancel()
                seconds.append(await answer.cut_at - left_at)
    assert statistics.median(seconds) < MOST_SECONDS
    name = f"milliseconds until the backend sees it, slowest of {ROUNDS}: {dialect.name}"
    way = "streamed" if is_streaming else "whole"
    request.node.user_properties.append((f"{name}, {way}", round(max(seconds) * 1000, 1)))
