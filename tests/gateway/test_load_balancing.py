"""Which of several backends gets a request."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from contracts.settings import BackendSettings
from gateway.backends.answers import BackendAnswer
from gateway.backends.router import BackendRouter
from gateway.errors import GatewayError
from tests.gateway.conftest import backend_of
from tests.gateway.running_router import ask, open_answer, running_router
from tests.gateway.scripted_upstream import (
    STREAM,
    ScriptedUpstream,
    scripted_upstream,
    stream_script,
)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """One server behind all backends: what counts is whom the router chose."""
    async with scripted_upstream() as server:
        server.script = stream_script(STREAM[:1], wait_at_end=True)
        yield server


def backends_of(upstream: ScriptedUpstream, **weights: float) -> list[BackendSettings]:
    return [backend_of(upstream, name=name, weight=weight) for name, weight in weights.items()]


async def open_many(
    router: BackendRouter, count: int, stack: AsyncExitStack, **options: Any
) -> list[BackendAnswer]:
    """Open answers one after the other, all running until the end of `stack`."""
    answers = []
    for _ in range(count):
        answer = await open_answer(router, **options)
        stack.callback(answer.close)
        answers.append(answer)
    return answers


async def count_chosen(
    *backends: BackendSettings, count: int, is_concurrent: bool = True, **routing: Any
) -> dict[str, int]:
    async with AsyncExitStack() as stack, running_router(*backends, **routing) as router:
        chosen: Counter[str] = Counter()
        for _ in range(count):
            (answer,) = await open_many(router, 1, stack)
            chosen[answer.backend] += 1
            if not is_concurrent:
                answer.close()
        return dict(chosen)


async def test_requests_in_flight_are_spread_by_weight(upstream: ScriptedUpstream) -> None:
    assert await count_chosen(*backends_of(upstream, a=1, b=1, c=1), count=9) == {
        "a": 3,
        "b": 3,
        "c": 3,
    }
    assert await count_chosen(*backends_of(upstream, a=3, b=1), count=8) == {"a": 6, "b": 2}


async def test_idle_backends_take_turns_by_weight(upstream: ScriptedUpstream) -> None:
    backends = backends_of(upstream, a=3, b=1)
    chosen = await count_chosen(*backends, count=8, is_concurrent=False)
    assert chosen == {"a": 6, "b": 2}


async def test_the_least_busy_gets_the_next_request(upstream: ScriptedUpstream) -> None:
    async with AsyncExitStack() as stack:
        router = await stack.enter_async_context(running_router(*backends_of(upstream, a=1, b=1)))
        answers = await open_many(router, 6, stack)
        for answer in answers:
            if answer.backend == "a":
                answer.close()
        assert [each.backend for each in await open_many(router, 3, stack)] == ["a", "a", "a"]


async def test_weighted_keeps_to_the_turns_however_busy_they_are(
    upstream: ScriptedUpstream,
) -> None:
    async with AsyncExitStack() as stack:
        router = await stack.enter_async_context(
            running_router(*backends_of(upstream, a=3, b=1), choice="weighted")
        )
        answers = await open_many(router, 4, stack)
        assert [each.backend for each in answers] == ["a", "a", "b", "a"]
        for answer in answers:
            if answer.backend == "b":
                answer.close()
        assert [each.backend for each in await open_many(router, 4, stack)] == ["a", "a", "b", "a"]


async def test_a_lower_number_comes_first_whatever_the_load(upstream: ScriptedUpstream) -> None:
    backends = (
        backend_of(upstream, name="spare", priority=5),
        backend_of(upstream, name="main", priority=-1),
        backend_of(upstream, name="second", priority=0),
    )
    assert await count_chosen(*backends, count=5) == {"main": 5}


async def test_one_that_is_down_comes_after_all_others(upstream: ScriptedUpstream) -> None:
    async with running_router(
        backend_of(upstream, name="main"), backend_of(upstream, name="spare", priority=1)
    ) as router:
        main, spare = router.backends
        upstream.script = stream_script(STREAM)
        main.is_up = False
        assert await ask(router) == ("spare", 200)
        spare.is_up = False
        assert await ask(router) == ("main", 200)
        main.is_up = True
        assert await ask(router) == ("main", 200)


async def test_full_backends_are_passed_over(upstream: ScriptedUpstream) -> None:
    backends = (
        backend_of(upstream, name="small", weight=1000, max_concurrency=1),
        backend_of(upstream, name="large"),
    )
    assert await count_chosen(*backends, count=5) == {"small": 1, "large": 4}


async def test_an_alias_reaches_each_backend_under_its_own_name(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM)
    backends = (
        backend_of(upstream, name="a", models=("qwen-7b",), aliases={"fast": "qwen-7b"}),
        backend_of(upstream, name="b", models=("Qwen/7B",), aliases={"fast": "Qwen/7B"}),
    )
    async with running_router(*backends) as router:
        asked = {await ask(router, "fast", body=b'{"model":"MODEL"}') for _ in range(2)}
    assert asked == {("a", 200), ("b", 200)}
    assert {request.json["model"] for request in upstream.requests} == {"qwen-7b", "Qwen/7B"}


async def test_the_closest_wildcard_decides(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM)
    backends = (
        backend_of(upstream, name="any", models=("*",)),
        backend_of(upstream, name="qwen", models=("qwen-*",)),
        backend_of(upstream, name="exact", models=("qwen-7b",)),
    )
    async with running_router(*backends) as router:
        for model, backend in (("llama", "any"), ("qwen-32b", "qwen"), ("qwen-7b", "exact")):
            assert {await ask(router, model) for _ in range(2)} == {(backend, 200)}


async def test_of_equal_wildcards_that_counts_whose_server_lists_the_model(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM)
    async with scripted_upstream() as other:
        other.script = upstream.script
        upstream.models, other.models = ("qwen-7b",), ("qwen-32b",)
        backends = (
            backend_of(upstream, name="a", models=("qwen-*",)),
            backend_of(other, name="b", models=("qwen-*",)),
        )
        async with running_router(*backends) as router:
            await router.served_models()
            assert {await ask(router, "qwen-32b") for _ in range(2)} == {("b", 200)}
            assert {await ask(router, "qwen-1b") for _ in range(2)} == {("a", 200), ("b", 200)}


async def test_a_model_that_two_servers_list_is_served_by_both(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM)
    backends = (
        backend_of(upstream, name="listing", models=()),
        backend_of(upstream, name="named", models=("tiny",)),
    )
    async with running_router(*backends) as router:
        await router.served_models()
        assert {await ask(router) for _ in range(2)} == {("listing", 200), ("named", 200)}


async def test_the_context_is_as_long_as_the_shortest(upstream: ScriptedUpstream) -> None:
    backends = (
        backend_of(upstream, name="a", context_length=4096),
        backend_of(upstream, name="b", context_length=2048),
    )
    async with running_router(*backends) as router:
        assert (await router.route("tiny")).context_length == 2048


async def test_only_backends_that_can_serve_an_api_are_asked_for_it(
    upstream: ScriptedUpstream,
) -> None:
    upstream.script = stream_script(STREAM)
    backends = (
        backend_of(upstream, name="chat", apis=("chat",)),
        backend_of(upstream, name="embeddings", apis=("embeddings",)),
    )
    async with running_router(*backends) as router:
        for _ in range(2):
            assert await ask(router, api="chat") == ("chat", 200)
            answered = await ask(router, api="embeddings", body=b'{"input":"text"}')
            assert answered == ("embeddings", 200)
    async with running_router(backends[1]) as router:
        with pytest.raises(GatewayError, match="cannot be asked for messages") as refused:
            await ask(router, api="messages")
        assert (refused.value.status, refused.value.param) == (400, "model")


async def test_many_at_once_share_the_backends_evenly(upstream: ScriptedUpstream) -> None:
    upstream.script = stream_script(STREAM, pause=0.001)
    backends = [backend_of(upstream, name=name, max_concurrency=4) for name in "abc"]
    async with running_router(*backends) as router:
        served = Counter(await asyncio.gather(*(ask(router) for _ in range(90))))
        assert set(served) == {(name, 200) for name in "abc"}
        assert min(served.values()) >= 15
        assert [each.slots.in_flight for each in router.backends] == [0, 0, 0]
