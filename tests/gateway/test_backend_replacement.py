"""Other backends while the gateway runs, at no request's cost."""

import asyncio

import pytest

from gateway.errors import ModelNotFound
from tests.gateway.conftest import backend_of
from tests.gateway.running_router import ask, open_answer, running_router, wait_until
from tests.gateway.scripted_upstream import (
    STREAM,
    ScriptedUpstream,
    scripted_upstream,
    stream_script,
)
from tests.support.ports import free_port


async def test_running_answers_end_on_the_old_backends_and_new_requests_go_to_the_new(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM, pause=0.02)
    async with (
        scripted_upstream() as other,
        running_router(backend_of(upstream, name="old")) as router,
    ):
        running = await open_answer(router)
        router.replace([backend_of(other, name="new")])
        assert await ask(router) == ("new", 200)
        assert await running.read_all() == b"".join(STREAM)
        running.close()
        assert [each.name for each in router.backends] == ["new"]


async def test_requests_that_wait_are_served_by_the_backends_they_wait_for(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    async with running_router(backend_of(upstream, max_concurrency=1)) as router:
        running = await open_answer(router)
        waiting = asyncio.create_task(open_answer(router))
        await wait_until(lambda: len(router.backends[0].slots.waiting) == 1)
        router.replace([])
        assert router.is_empty
        running.close()
        answer = await waiting
        assert answer.backend == "scripted"
        answer.close()


async def test_a_backend_with_the_same_settings_stays_as_it_is(upstream: ScriptedUpstream) -> None:
    kept, gone = backend_of(upstream, name="kept"), backend_of(upstream, name="gone")
    async with running_router(kept, gone) as router:
        before = router.backends[0]
        router.replace([backend_of(upstream, name="first"), kept.model_copy()])
        assert [each.name for each in router.backends] == ["first", "kept"]
        assert router.backends[1] is before


async def test_a_changed_backend_keeps_its_counters_and_the_places_that_are_taken(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM[:1], wait_at_end=True)
    async with running_router(backend_of(upstream, max_concurrency=2)) as router:
        router.backends[0].counters.retries = 7
        running = [await open_answer(router) for _ in range(2)]
        router.replace([backend_of(upstream, max_concurrency=1, weight=2)])
        (backend,) = router.backends
        assert (backend.counters.retries, backend.slots.in_flight) == (7, 2)
        waiting = asyncio.create_task(open_answer(router))
        await wait_until(lambda: len(backend.slots.waiting) == 1)
        for answer in running:
            answer.close()
        (await waiting).close()
        assert backend.slots.in_flight == 0


async def test_models_that_are_gone_are_not_found(upstream: ScriptedUpstream) -> None:
    async with running_router(backend_of(upstream), is_watching=True) as router:
        assert await ask(router) == ("scripted", 200)
        router.replace([backend_of(upstream, models=("other",))])
        with pytest.raises(ModelNotFound, match="Models served: other"):
            await ask(router)


async def test_a_request_that_waits_for_an_old_servers_models_is_served_by_the_new(
    upstream: ScriptedUpstream,
) -> None:
    was_asked = asyncio.Event()

    async def never_answer(_reader: object, _writer: object) -> None:
        was_asked.set()
        await asyncio.sleep(60)

    port = free_port()
    silent = await asyncio.start_server(never_answer, "127.0.0.1", port)
    settings = backend_of(upstream, name="silent", url=f"http://127.0.0.1:{port}", models=())
    async with running_router(settings) as router:
        asking = asyncio.create_task(ask(router))
        await was_asked.wait()
        router.replace([backend_of(upstream, name="new", models=())])
        assert await asking == ("new", 200)
    silent.close()
