"""What follows when a backend fails a request: another try there, another backend, or the end."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.errors import BackendError, BackendOutOfUse
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_router import ask, open_answer, running_router
from tests.gateway.scripted_upstream import (
    COMPLETION,
    STREAM,
    Script,
    ScriptedUpstream,
    answer_json,
    scripted_upstream,
    stream_script,
)
from tests.gateway.served_app import served
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


@pytest.fixture
async def other() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


def both(first: ScriptedUpstream, second: ScriptedUpstream, **fields: Any) -> tuple[Any, Any]:
    """Two backends for one model; the first is asked first."""
    return (
        backend_of(first, name="first", **fields),
        backend_of(second, name="second", priority=1, **fields),
    )


def dead_backend() -> ScriptedUpstream:
    return ScriptedUpstream(url=f"http://127.0.0.1:{free_port()}")


def answer_in_turn(*statuses: int, headers: dict[str, str] | None = None) -> Script:
    """Answer with these statuses, then with completions."""
    left = list(statuses)

    async def script(_request: web.Request) -> web.StreamResponse:
        if left:
            return await answer_json(
                {"error": {"message": "no"}}, status=left.pop(0), headers=headers
            )
        return await answer_json(COMPLETION)

    return script


async def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def begin_and_hang_up(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return await hang_up(request)


async def begin_and_end(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def hang_up_within_the_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json; charset=utf-8", "Content-Length": "1000"}
    )
    await response.prepare(request)
    await response.write(b'{"id": "half an ans')
    await asyncio.sleep(0.05)
    return await hang_up(request)


async def never_answer(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def test_a_backend_that_cannot_be_reached_is_passed_over(upstream: ScriptedUpstream) -> None:
    async with running_router(*both(dead_backend(), upstream)) as router:
        assert await ask(router) == ("second", 200)
        first, _ = router.backends
        assert (first.counters.failovers, first.slots.in_flight) == (1, 0)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_refusal_that_may_pass_is_taken_to_the_next_backend(
    upstream: ScriptedUpstream, other: ScriptedUpstream, status: int
) -> None:
    upstream.script = answer_in_turn(status)
    async with running_router(*both(upstream, other)) as router:
        assert await ask(router) == ("second", 200)
        assert [each.slots.in_flight for each in router.backends] == [0, 0]


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
async def test_a_refusal_of_the_request_itself_is_final(
    upstream: ScriptedUpstream, other: ScriptedUpstream, status: int
) -> None:
    upstream.script = answer_in_turn(status)
    async with running_router(*both(upstream, other)) as router:
        assert await ask(router) == ("first", status)
    assert not other.requests


@pytest.mark.parametrize("script", [hang_up, begin_and_hang_up, begin_and_end])
async def test_an_answer_without_a_first_byte_is_taken_to_the_next_backend(
    upstream: ScriptedUpstream, other: ScriptedUpstream, script: Script
) -> None:
    upstream.script = script
    async with running_router(*both(upstream, other)) as router:
        assert await ask(router) == ("second", 200)
    assert len(upstream.requests) == 1


async def test_a_whole_answer_that_breaks_off_is_taken_to_the_next_backend(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    other: ScriptedUpstream,
    client: aiohttp.ClientSession,
) -> None:
    upstream.script = hang_up_within_the_body
    gateway = start_gateway(*both(upstream, other))
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 200
        assert (await response.json())["choices"] == COMPLETION["choices"]
    assert [len(upstream.requests), len(other.requests)] == [1, 1]


async def test_no_first_byte_in_time_is_taken_to_the_next_backend(
    upstream: ScriptedUpstream, other: ScriptedUpstream
) -> None:
    upstream.script = never_answer
    backends = both(upstream, other, first_byte_timeout_seconds=0.2)
    async with running_router(*backends) as router:
        assert await ask(router) == ("second", 200)
        await asyncio.wait_for(upstream.was_cut.wait(), 10)


@pytest.mark.parametrize(("script", "status"), [(begin_and_hang_up, 502), (begin_and_end, 502)])
async def test_200_is_not_sent_before_the_first_byte_is_there(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    script: Script,
    status: int,
) -> None:
    upstream.script = script
    gateway = start_gateway(backend_of(upstream))
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == "backend_broken"


async def test_no_failover_after_a_body_byte_went_out(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    other: ScriptedUpstream,
    client: aiohttp.ClientSession,
) -> None:
    upstream.script = stream_script(STREAM[:2], pause=0.01, breaks_off=True)
    gateway = start_gateway(*both(upstream, other))
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        assert response.status == 200
        received = await response.read()
    assert b'"code":"backend_broken"' in received
    assert not other.requests


async def test_the_same_backend_is_tried_again_after_a_moment(upstream: ScriptedUpstream) -> None:
    upstream.script = answer_in_turn(503, 429)
    async with running_router(backend_of(upstream)) as router:
        assert await ask(router) == ("scripted", 200)
        assert router.backends[0].counters.retries == 2
    assert len(upstream.requests) == 3


async def test_tries_are_limited_and_the_last_refusal_is_the_answer(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = answer_in_turn(*[503] * 9)
    async with running_router(backend_of(upstream), attempts=4) as router:
        assert await ask(router) == ("scripted", 503)
    assert len(upstream.requests) == 4


async def test_with_one_attempt_nothing_is_tried_again(upstream: ScriptedUpstream) -> None:
    upstream.script = answer_in_turn(503)
    async with running_router(backend_of(upstream), attempts=1) as router:
        assert await ask(router) == ("scripted", 503)


async def test_a_pause_that_the_server_asks_for_is_kept(upstream: ScriptedUpstream) -> None:
    upstream.script = answer_in_turn(429, headers={"retry-after-ms": "300"})
    async with running_router(backend_of(upstream)) as router:
        started = monotonic()
        assert await ask(router) == ("scripted", 200)
        assert monotonic() - started >= 0.3


async def test_a_pause_that_is_too_long_is_told_to_the_client_at_once(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    upstream.script = answer_in_turn(429, headers={"Retry-After": "11"})
    gateway = start_gateway(backend_of(upstream), routing={"retry_seconds": 10})
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "11")
    assert len(upstream.requests) == 1


async def test_a_backend_that_asked_for_a_pause_is_left_to_the_others(
    upstream: ScriptedUpstream, other: ScriptedUpstream
) -> None:
    upstream.script = answer_in_turn(429, headers={"Retry-After": "30"})
    async with running_router(*both(upstream, other)) as router:
        assert [await ask(router) for _ in range(3)] == [("second", 200)] * 3
    assert len(upstream.requests) == 1


async def test_a_request_that_kills_servers_is_not_handed_on_to_all_of_them(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = hang_up
    backends = [backend_of(upstream, name=f"backend-{number}") for number in range(5)]
    async with running_router(*backends, attempts=5) as router:
        with pytest.raises(BackendError, match="closed the connection"):
            await ask(router)
    assert len(upstream.requests) == 2


async def test_responses_are_not_asked_for_twice_once_a_server_may_have_begun(
    upstream: ScriptedUpstream, other: ScriptedUpstream
) -> None:
    tries = 0

    async def post_responses(request: web.Request) -> web.StreamResponse:
        nonlocal tries
        tries += 1
        return await hang_up(request)

    app = web.Application()
    app.router.add_post("/v1/responses", post_responses)
    async with served(app) as url:
        backends = (
            backend_of(other, name="first", url=url, apis=("responses",)),
            backend_of(other, name="second", url=url, apis=("responses",), priority=1),
        )
        async with running_router(*backends) as router:
            with pytest.raises(BackendError, match="'first' closed the connection"):
                await ask(router, api="responses")
    assert tries == 1


async def test_a_client_that_goes_away_ends_the_pause_before_the_next_try(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = answer_in_turn(503)
    async with running_router(backend_of(upstream), backoff_seconds=5) as router:
        task = asyncio.create_task(ask(router))
        async with asyncio.timeout(10):
            while not upstream.requests:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert router.backends[0].slots.in_flight == 0


async def test_a_backend_that_fails_again_and_again_is_out_of_use_until_a_trial_succeeds(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = answer_in_turn(*[502] * 3)
    routing = {"attempts": 1, "breaker_failures": 3, "breaker_seconds": 0.4}
    async with running_router(backend_of(upstream), **routing) as router:
        breaker = router.backends[0].breaker
        assert [await ask(router) for _ in range(3)] == [("scripted", 502)] * 3
        assert breaker.state == "open"
        with pytest.raises(BackendOutOfUse) as refused:
            await ask(router)
        assert refused.value.headers == [(b"retry-after", b"1")]
        assert len(upstream.requests) == 3
        assert router.backends[0].counters.refused == {"out_of_use": 1}

        await asyncio.sleep(0.45)
        assert await ask(router) == ("scripted", 200)
        assert breaker.state == "closed"


async def test_one_out_of_use_gets_a_trial_at_no_clients_cost(
    upstream: ScriptedUpstream, other: ScriptedUpstream
) -> None:
    upstream.script = answer_in_turn(*[502] * 2)
    routing = {"breaker_failures": 1, "breaker_seconds": 0.3}
    async with running_router(*both(upstream, other), **routing) as router:
        assert [await ask(router) for _ in range(3)] == [("second", 200)] * 3
        assert len(upstream.requests) == 1
        await asyncio.sleep(0.35)
        assert await ask(router) == ("second", 200)
        assert len(upstream.requests) == 2
        await asyncio.sleep(0.35)
        assert await ask(router) == ("first", 200)


async def test_answers_that_break_off_count_against_a_backend(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM[:2], pause=0.01, breaks_off=True)
    async with running_router(backend_of(upstream), breaker_failures=2) as router:
        for _ in range(2):
            answer = await open_answer(router)
            with pytest.raises(BackendError, match="broke off"):
                await answer.read_all()
            answer.close()
        assert router.backends[0].breaker.state == "open"
