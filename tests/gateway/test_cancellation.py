"""A client that goes away ends the work for it at the backend, within 100 ms."""

import asyncio
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.scripted_upstream import STREAM, Script, ScriptedUpstream, stream_script

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
TRIES = 5
LONGEST_SECONDS = 0.1


async def never_answer(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def begin_and_wait(request: web.Request) -> web.StreamResponse:
    """As a server that has sent headers and works on a body that is no stream."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": ')
    await asyncio.sleep(60)
    return response


async def measure_cut(
    client: aiohttp.ClientSession, url: str, body: dict[str, Any], upstream: ScriptedUpstream
) -> float:
    """Return the seconds from the client's going away to the backend's seeing it."""
    upstream.was_cut.clear()
    upstream.requests.clear()

    async def ask() -> None:
        async with client.post(url, json=body) as response:
            await response.read()

    task = asyncio.create_task(ask())
    async with asyncio.timeout(10):
        while not upstream.requests:
            await asyncio.sleep(0.001)
    # Of the answer, what is to be relayed is on its way.
    await asyncio.sleep(0.05)
    left_at = monotonic()
    task.cancel()
    await asyncio.wait_for(upstream.was_cut.wait(), 10)
    return monotonic() - left_at


@pytest.mark.parametrize(
    ("path", "script", "fields"),
    [
        pytest.param(CHAT, never_answer, {}, id="chat before its answer"),
        pytest.param(CHAT, begin_and_wait, {}, id="chat within its answer"),
        pytest.param(
            CHAT,
            stream_script(STREAM[:2], wait_at_end=True),
            {"stream": True},
            id="chat stream within its answer",
        ),
        pytest.param(EMBEDDINGS, None, {"input": "text"}, id="embeddings"),
    ],
)
async def test_the_backend_sees_the_client_go_within_100_ms(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    path: str,
    script: Script | None,
    fields: dict[str, Any],
) -> None:
    if script is None:
        upstream.embeddings_seconds = 60
    else:
        upstream.script = script
    gateway = start_gateway(backend_of(upstream))
    body = chat_body(**fields)
    seconds = [await measure_cut(client, gateway.url + path, body, upstream) for _ in range(TRIES)]
    # On a busy machine a try may take longer; a gateway that is late is late every time.
    assert min(seconds) <= LONGEST_SECONDS
