"""A backend that works on a limited number of requests at once, and those that wait for it."""

import asyncio
from typing import Any

import aiohttp
import pytest

from gateway.errors import BackendBusy
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_router import ask, open_answer, running_router, wait_until
from tests.gateway.scripted_upstream import (
    COMPLETION,
    STREAM,
    ScriptedUpstream,
    answer_json,
    stream_script,
)

CHAT = "/v1/chat/completions"


async def test_no_more_than_the_limit_reaches_the_backend(upstream: ScriptedUpstream) -> None:
    running = most = 0

    async def script(_request: object) -> object:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return await answer_json(COMPLETION)

    upstream.script = script  # type: ignore[assignment]
    async with running_router(backend_of(upstream, max_concurrency=3)) as router:
        answers = await asyncio.gather(*(ask(router) for _ in range(30)))
        assert answers == [("scripted", 200)] * 30
        slots = router.backends[0].slots
        assert (slots.in_flight, len(slots.waiting)) == (0, 0)
    assert most == 3


@pytest.mark.parametrize(
    ("queue", "status", "error_type", "code"),
    [
        ({"max_queued": 0}, 429, "rate_limit_error", "backend_queue_full"),
        ({"queue_timeout_seconds": 0.1}, 503, "api_error", "backend_queue_timeout"),
    ],
    ids=["the queue is full", "it waited too long"],
)
async def test_a_request_without_a_place_is_told_when_to_come_again(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    queue: dict[str, Any],
    status: int,
    error_type: str,
    code: str,
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    gateway = start_gateway(backend_of(upstream, max_concurrency=1, **queue))
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as running:
        assert running.status == 200
        async with client.post(gateway.url + CHAT, json=chat_body()) as refused:
            assert refused.status == status
            assert int(refused.headers["Retry-After"]) >= 1
            error = (await refused.json())["error"]
    assert (error["type"], error["code"]) == (error_type, code)
    assert len(upstream.requests) == 1


async def test_a_waiting_client_that_goes_away_frees_its_place_at_once(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    gateway = start_gateway(backend_of(upstream, max_concurrency=1, max_queued=1))

    async def queued() -> int:
        async with client.get(f"{gateway.url}/healthz?verbose") as response:
            return int((await response.json())["backends"][0]["queued"])

    async def wait_for_queued(count: int) -> None:
        async with asyncio.timeout(20):
            while await queued() != count:
                await asyncio.sleep(0.01)

    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as running:
        assert running.status == 200
        waiting = asyncio.create_task(client.post(gateway.url + CHAT, json=chat_body()))
        await wait_for_queued(1)
        async with client.post(gateway.url + CHAT, json=chat_body()) as refused:
            assert refused.status == 429
        waiting.cancel()
        await wait_for_queued(0)
        waiting = asyncio.create_task(client.post(gateway.url + CHAT, json=chat_body()))
        await wait_for_queued(1)
        upstream.script = stream_script([b"{}"])
        running.close()
        # The place of the one that was running goes to the one that waits.
        async with asyncio.timeout(10):
            while len(upstream.requests) < 2:
                await asyncio.sleep(0.01)
        (await waiting).close()


async def test_who_waits_goes_to_whichever_backend_is_free_first(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    backends = [backend_of(upstream, name=name, max_concurrency=1) for name in "ab"]
    async with running_router(*backends) as router:
        first, second = await open_answer(router), await open_answer(router)
        waiting = asyncio.create_task(open_answer(router))
        await wait_until(lambda: len(router.backends[0].slots.waiting) == 1)
        second.close()
        third = await waiting
        assert third.backend == second.backend != first.backend
        first.close()
        third.close()
        assert [each.slots.in_flight for each in router.backends] == [0, 0]


async def test_a_full_queue_overflows_to_the_next_priority(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    backends = (
        backend_of(upstream, name="main", max_concurrency=1, max_queued=0),
        backend_of(upstream, name="spare", priority=1, max_concurrency=1, max_queued=0),
    )
    async with running_router(*backends) as router:
        answers = [await open_answer(router) for _ in range(2)]
        assert [each.backend for each in answers] == ["main", "spare"]
        with pytest.raises(BackendBusy):
            await open_answer(router)
        assert router.backends[0].counters.refused + router.backends[1].counters.refused == {
            "queue_full": 1
        }
        for answer in answers:
            answer.close()


async def test_a_waiting_request_leaves_a_backend_that_has_gone_out_of_use(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    backends = (
        backend_of(upstream, name="main", max_concurrency=1),
        backend_of(upstream, name="spare", priority=1),
    )
    async with running_router(*backends, breaker_failures=1) as router:
        running = await open_answer(router)
        waiting = asyncio.create_task(open_answer(router))
        main = router.backends[0]
        await wait_until(lambda: len(main.slots.waiting) == 1)
        main.fail()
        running.close()
        answer = await waiting
        assert answer.backend == "spare"
        answer.close()
        assert main.slots.in_flight == 0
