"""SIGTERM: what runs ends well, what watches is told, what was recorded is not lost."""

import asyncio
import signal
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.gateway.conftest import chat_body
from tests.gateway.gateway_process import (
    gateway_process,
    log_lines,
    wait_until_alive,
    write_settings,
)
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


async def test_readiness_goes_first_and_requests_are_taken_until_the_end_of_the_drain(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write_settings(tmp_path, port, backend_url=upstream.url, gateway="drain_seconds = 3")
    with gateway_process(tmp_path) as (process, _log):
        await wait_until_alive(client, url)
        async with client.get(f"{url}/readyz") as response:
            assert (response.status, await response.json()) == (200, {"status": "ready"})
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2.5):
            while True:
                async with client.get(f"{url}/readyz") as response:
                    status, body = response.status, await response.json()
                if status == 503:
                    break
                await asyncio.sleep(0.01)
        assert body == {"status": "stopping"}
        # New connections too are still served.
        async with (
            aiohttp.ClientSession() as another,
            another.post(url + CHAT, json=chat_body()) as response,
        ):
            assert response.status == 200
        process.wait(20)


async def test_a_stream_ends_by_itself_within_the_grace_or_with_an_error_event(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    release = asyncio.Event()

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(STREAM[0] + STREAM[1])
        if b"patient" not in await request.read():
            await asyncio.sleep(60)
        await release.wait()
        await response.write(b"".join(STREAM[2:]))
        return response

    upstream.script = script
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    gateway = "shutdown_grace_seconds = 5"
    write_settings(tmp_path, port, backend_url=upstream.url, gateway=gateway)
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url)
        idle = aiohttp.ClientSession()
        async with idle.get(f"{url}/healthz") as response:
            await response.read()
        short = await client.post(url + CHAT, json=chat_body(stream=True, user="patient"))
        endless = await client.post(url + CHAT, json=chat_body(stream=True))
        for stream in (short, endless):
            assert b"Hel" in await stream.content.readuntil(b"Hel")
        process.send_signal(signal.SIGTERM)
        release.set()
        rest = await short.content.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        rest = await endless.content.read()
        assert b'"code":"shutting_down"' in rest
        assert b"[DONE]" not in rest
        process.wait(20)
        await idle.close()
    assert process.returncode == -signal.SIGTERM
    statuses = [line["call_status"] for line in log_lines(log) if line.get("path") == CHAT]
    assert statuses == ["completed", "failed"]
    assert "Traceback" not in log.read_text()
    # Without a broker the pipeline's events wait in the spool for the next start.
    assert any(file.stat().st_size for file in tmp_path.glob(".sluice/spool/**/*"))
