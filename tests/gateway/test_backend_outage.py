"""A backend that dies and comes back under load, beside one that lives."""

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.scripted_upstream import COMPLETION, ScriptedUpstream, answer_json
from tests.gateway.served_app import served
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"
CLIENTS = 8
OUTAGES = 4


async def answer_soon(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(0.005)
    return await answer_json(COMPLETION)


async def answer_health(_request: web.Request) -> web.StreamResponse:
    return web.Response()


def failing_server(port: int) -> AbstractAsyncContextManager[str]:
    app = web.Application()
    app.router.add_post(CHAT, answer_soon)
    app.router.add_get("/health", answer_health)
    return served(app, port=port)


async def test_no_client_notices_that_one_of_two_backends_dies_and_comes_back(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream.script = answer_soon
    port = free_port()
    # Were a health check to find out first, no request would go there and open the breaker.
    gateway = start_gateway(
        backend_of(upstream, name="steady"),
        backend_of(upstream, name="failing", url=f"http://127.0.0.1:{port}", apis=("chat",)),
        routing={"breaker_failures": 3, "breaker_seconds": 0.1, "health_interval_seconds": 5},
    )
    outcomes: Counter[int] = Counter()
    is_over = asyncio.Event()

    async def keep_asking() -> None:
        while not is_over.is_set():
            async with client.post(gateway.url + CHAT, json=chat_body()) as response:
                outcomes[response.status] += 1
                assert await response.json() == COMPLETION

    async def state_of_failing() -> dict[str, Any]:
        async with client.get(f"{gateway.url}/healthz?verbose") as response:
            state: dict[str, Any] = (await response.json())["backends"][1]
        return state

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(keep_asking())
        async with asyncio.timeout(60):
            for _ in range(OUTAGES):
                while (await state_of_failing())["circuit_breaker"] == "closed":
                    await asyncio.sleep(0.01)
                async with failing_server(port):
                    while (await state_of_failing())["circuit_breaker"] != "closed":
                        await asyncio.sleep(0.01)
        is_over.set()
    assert set(outcomes) == {200}
    assert outcomes[200] > CLIENTS * OUTAGES
    gateway.stop()
    lines = [line for line in capsys.readouterr().out.splitlines() if "backend=failing" in line]
    changes = Counter(line.split("]", 1)[1].split("backend=")[0].strip() for line in lines)
    assert changes["backend in use again"] >= OUTAGES
    # A line for each change, none for each request or trial that meets it.
    assert 0 <= changes["backend out of use"] - changes["backend in use again"] <= 1
