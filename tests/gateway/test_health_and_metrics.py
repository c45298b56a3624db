"""`GET /healthz` and `GET /metrics`."""

import time
from pathlib import Path

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


async def test_everything_up(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    nats_url: str,
    database_url: str,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_gateway(backend_of(upstream), nats_url=nats_url, database_url=database_url)
    async with client.get(f"{gateway.url}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with client.get(f"{gateway.url}/healthz?verbose") as response:
        health = await response.json()
    assert health["status"] == "ok"
    assert health["broker"]["status"] == health["database"]["status"] == "ok"
    assert health["broker"]["events_waiting"] == 0
    (backend,) = health["backends"]
    assert (backend["name"], backend["kind"], backend["status"]) == ("scripted", "vllm", "ok")
    for part in (health["broker"], health["database"], backend):
        assert 0 <= part["latency_seconds"] < 2


async def test_everything_down_is_still_alive_and_says_so_soon(
    start_gateway: StartGateway, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    gateway = start_gateway(
        backend_of(upstream, name="dead", url=dead),
        backend_of(upstream, name="alive", models=("other",)),
    )
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 502
    started = time.monotonic()
    async with client.get(f"{gateway.url}/healthz?verbose") as response:
        assert response.status == 200
        health = await response.json()
    assert time.monotonic() - started < 3
    assert health["status"] == "degraded"
    assert health["broker"]["status"] == "unreachable"
    assert health["broker"]["events_waiting"] == 3
    assert health["database"]["status"] == "unreachable"
    assert "refused" in health["database"]["error"]
    states = {backend["name"]: backend["status"] for backend in health["backends"]}
    assert states == {"dead": "unreachable", "alive": "ok"}


async def test_a_gateway_that_cannot_spool_answers_and_is_not_ready(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    (tmp_path / "spool").touch()
    gateway = start_gateway(backend_of(upstream), spool={"dir": tmp_path / "spool"})
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 200
    async with client.get(f"{gateway.url}/readyz") as response:
        assert response.status == 503
        assert await response.json() == {"status": "spool_failed", "error": "ENOTDIR"}
    async with client.get(f"{gateway.url}/healthz?verbose") as response:
        assert (await response.json())["spool"]["status"] == "failed"


async def test_metrics(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
) -> None:
    gateway = start_gateway(
        backend_of(upstream), gateway={"publish_queue_events": 4, "shutdown_grace_seconds": 1}
    )
    for _ in range(2):
        async with client.post(gateway.url + CHAT, json=chat_body()) as response:
            assert response.status == 200

    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "slow down"}}, status=429)

    upstream.script = refuse
    async with client.post(gateway.url + CHAT, json=chat_body()) as response:
        assert response.status == 429
    async with client.get(f"{gateway.url}/some/unknown/path") as response:
        assert response.status == 404
    async with client.get(f"{gateway.url}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        samples = {
            (sample.name.removeprefix("sluice_gateway_"), tuple(sorted(sample.labels.items()))): (
                sample.value
            )
            for family in text_string_to_metric_families(await response.text())
            for sample in family.samples
        }
    labels = (("method", "POST"), ("path", CHAT))
    assert samples["requests_total", (*labels, ("status", "200"))] == 2
    assert samples["requests_total", (*labels, ("status", "429"))] == 1
    other = (("method", "GET"), ("path", "other"), ("status", "404"))
    assert samples["requests_total", other] == 1
    assert samples["request_duration_seconds_count", (("path", CHAT),)] == 3
    assert samples["tokens_total", (("backend", "scripted"), ("kind", "prompt"))] == 18
    assert samples["tokens_total", (("backend", "scripted"), ("kind", "completion"))] == 4
    reason = (("backend", "scripted"), ("reason", "http_429"))
    assert samples["backend_errors_total", reason] == 1
    # Four in memory, two in the spool alone.
    assert samples["events_waiting", ()] == 6
    assert samples["spool_writable", ()] == 1
    assert samples["spool_bytes", ()] > 1000
    assert samples["spool_torn_records_total", ()] == 0
    assert samples["spool_damages_total", ()] == 0
    assert samples["broker_connected", ()] == 0
    dropped = {
        dict(names)["subject"]: value
        for (name, names), value in samples.items()
        if name == "events_dropped_total"
    }
    assert dropped == {"telemetry.knowledge.chat": 3}
