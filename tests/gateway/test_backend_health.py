"""Backends that go down and come back, and how the gateway shows it."""

import asyncio
from contextlib import AbstractAsyncContextManager

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from contracts.settings import BackendSettings
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.running_router import running_router, wait_until
from tests.gateway.scripted_upstream import (
    STREAM,
    ScriptedUpstream,
    answer_json,
    scripted_upstream,
    stream_script,
)
from tests.gateway.served_app import served
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


def model_server(port: int, *models: str, status: int = 200) -> AbstractAsyncContextManager[str]:
    async def list_models(_request: web.Request) -> web.Response:
        data = [{"id": model, "object": "model"} for model in models]
        return web.json_response({"object": "list", "data": data}, status=status)

    app = web.Application()
    app.router.add_get("/v1/models", list_models)
    return served(app, port=port)


async def test_a_backend_that_goes_down_and_comes_back_is_noticed_without_a_request() -> None:
    port = free_port()
    settings = BackendSettings(name="a", kind="openai", url=f"http://127.0.0.1:{port}")
    async with running_router(
        settings, is_watching=True, health_interval_seconds=0.02, breaker_failures=1
    ) as router:
        (backend,) = router.backends
        await wait_until(lambda: not backend.is_up)
        backend.fail()
        assert not backend.is_ready
        async with model_server(port, "first"):
            await wait_until(lambda: backend.is_up)
            # The breaker does not wait for its time: the next request is its trial.
            assert backend.breaker.admits(0.0)
            assert [each.model_id for each in await router.served_models()] == ["first"]
        await wait_until(lambda: not backend.is_up)
        async with model_server(port, "second"):
            await wait_until(lambda: backend.is_up)
            async with asyncio.timeout(20):
                while [each.model_id for each in await router.served_models()] != ["second"]:
                    await asyncio.sleep(0.01)


async def test_a_server_that_fails_its_health_check_is_down_and_one_that_has_none_is_not() -> None:
    port = free_port()
    settings = BackendSettings(
        name="a", kind="openai", url=f"http://127.0.0.1:{port}", models=("tiny",)
    )
    async with running_router(settings, is_watching=True, health_interval_seconds=0.02) as router:
        (backend,) = router.backends
        await wait_until(lambda: not backend.is_up)
        async with model_server(port, status=404):
            await wait_until(lambda: backend.is_up)
        async with model_server(port, status=503):
            await wait_until(lambda: not backend.is_up)


async def test_metrics_and_health_show_each_backends_state(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    async with scripted_upstream() as other:
        upstream.script = lambda _request: answer_json({"error": {}}, status=502)
        other.script = stream_script(STREAM[:1], wait_at_end=True)
        gateway = start_gateway(
            backend_of(upstream, name="failing", apis=("chat",)),
            backend_of(other, name="busy", priority=1, max_concurrency=1, max_queued=0),
            routing={"breaker_failures": 1, "breaker_seconds": 100},
        )
        body = chat_body(stream=True)
        async with client.post(gateway.url + CHAT, json=body) as running:
            assert running.status == 200
            async with client.post(gateway.url + CHAT, json=body) as refused:
                assert refused.status == 429
            async with client.get(f"{gateway.url}/metrics") as response:
                samples = {
                    (
                        sample.name.removeprefix("sluice_gateway_backend_"),
                        sample.labels.get("backend"),
                        sample.labels.get("reason"),
                    ): sample.value
                    for family in text_string_to_metric_families(await response.text())
                    for sample in family.samples
                }
            async with client.get(f"{gateway.url}/healthz?verbose") as response:
                failing, busy = (await response.json())["backends"]
    assert samples["up", "busy", None] == 1
    assert samples["breaker_state", "failing", None] == 2
    assert samples["breaker_state", "busy", None] == 0
    assert samples["failovers_total", "failing", None] == 1
    assert samples["retries_total", "failing", None] == 0
    assert samples["in_flight", "busy", None] == 1
    assert samples["queued", "busy", None] == 0
    assert samples["refused_total", "busy", "queue_full"] == 1
    assert (failing["circuit_breaker"], failing["apis"]) == ("open", ["chat"])
    assert (busy["circuit_breaker"], busy["in_flight"]) == ("closed", 1)
