"""SIGHUP and changed files: taken over while requests run, and refused where they are wrong."""

import asyncio
import signal
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.access.api_keys import read_key_id
from gateway.access.key_file import revoke_key
from tests.gateway.access_keys import bearer, make_key
from tests.gateway.certificates import write_certificate
from tests.gateway.conftest import chat_body
from tests.gateway.gateway_process import (
    gateway_process,
    log_lines,
    wait_for_line,
    wait_until_alive,
    write_settings,
)
from tests.gateway.scripted_upstream import (
    COMPLETION,
    ScriptedUpstream,
    answer_json,
    scripted_upstream,
)
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


async def ask(client: aiohttp.ClientSession, url: str, **options: Any) -> int:
    async with client.post(url + CHAT, json=chat_body(), **options) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize("by_signal", [True, False])
async def test_backends_are_exchanged_under_a_running_request(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession, by_signal: bool
) -> None:
    release = asyncio.Event()

    async def wait(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await answer_json(COMPLETION)

    upstream.script = wait
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write_settings(tmp_path, port, backend_url=upstream.url)
    async with scripted_upstream() as other:
        with gateway_process(tmp_path) as (process, log):
            await wait_until_alive(client, url)
            running = asyncio.create_task(ask(client, url))
            async with asyncio.timeout(20):
                while not upstream.requests:
                    await asyncio.sleep(0.01)
            write_settings(tmp_path, port, backend_url=other.url, gateway="max_body_bytes = 2048")
            if by_signal:
                process.send_signal(signal.SIGHUP)
            await wait_for_line(log, lambda line: line["event"] == "backends reloaded")
            assert await ask(client, url) == 200
            assert len(other.requests) == 1
            assert not running.done()
            release.set()
            assert await running == 200
            line = await wait_for_line(log, lambda line: "from the next start" in line["event"])
            assert line["settings"] == ["gateway.max_body_bytes"]


async def test_wrong_settings_are_refused_and_the_old_ones_stay(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write_settings(tmp_path, port, backend_url=upstream.url)
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url)
        for number, wrong in enumerate(
            (
                'kind = "vllm',
                '[[backends]]\nname = "b"\nkind = "secret-kind"\napi_key = "sk-secret"',
                '[[backends]]\nname = "b"\nkind = "openai"\napi_key = "sk-secret"',
            ),
            start=1,
        ):
            write_settings(tmp_path, port, backend_url=upstream.url, more=wrong)
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while log.read_text().count("the settings are wrong") < number:
                    await asyncio.sleep(0.05)
            assert await ask(client, url) == 200
        assert "sk-secret" not in log.read_text()
        # A file that is right again counts, though nothing in it has changed.
        write_settings(tmp_path, port, backend_url=upstream.url)
        process.send_signal(signal.SIGHUP)
        assert await ask(client, url) == 200


async def test_keys_come_and_go(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    key_file = tmp_path / "keys.json"
    first = make_key(key_file, "first", requests_per_minute=60)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = f'keys_file = "{key_file}"'
    write_settings(tmp_path, port, backend_url=upstream.url, gateway=settings)
    with gateway_process(tmp_path) as (_process, log):
        await wait_until_alive(client, url)

        async def wait_for(key: str, status: int) -> None:
            async with asyncio.timeout(20):
                while await ask(client, url, headers=bearer(key)) != status:
                    await asyncio.sleep(0.1)

        for _ in range(20):
            assert await ask(client, url, headers=bearer(first)) == 200
        second = make_key(key_file, "second")
        await wait_for(second, 200)
        # What the first has used stays used.
        async with client.post(url + CHAT, json=chat_body(), headers=bearer(first)) as response:
            assert int(response.headers["x-ratelimit-remaining-requests"]) < 55
        revoke_key(key_file, str(read_key_id(first.encode())))
        await wait_for(first, 401)

        right = key_file.read_text()
        key_file.write_text("{")
        await wait_for_line(log, lambda line: "the API keys are wrong" in line["event"])
        assert await ask(client, url, headers=bearer(second)) == 200
        key_file.unlink()
        await wait_for_line(log, lambda line: "does not exist" in line.get("error", ""))
        assert await ask(client, url) == 401
        key_file.write_text('{"keys": []}')
        await wait_for_line(log, lambda line: "no API keys any more" in line["event"])
        assert await ask(client, url) == 401
        key_file.write_text(right)
        assert await ask(client, url, headers=bearer(second)) == 200


async def test_a_renewed_certificate(tmp_path: Path, client: aiohttp.ClientSession) -> None:
    certificate, key = write_certificate(tmp_path)
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    files = f'tls_certificate = "{certificate}"\ntls_key = "{key}"'
    write_settings(tmp_path, port, gateway=files)
    old = ssl.create_default_context(cafile=str(certificate))
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url, ssl=old)
        key.write_text("none")
        process.send_signal(signal.SIGHUP)
        await wait_for_line(log, lambda line: "the certificate is wrong" in line["event"])
        write_certificate(tmp_path)
        new = ssl.create_default_context(cafile=str(certificate))
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while True:
                try:
                    async with (
                        aiohttp.ClientSession() as another,
                        another.get(f"{url}/healthz", ssl=new) as response,
                    ):
                        assert response.status == 200
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        assert not any("Traceback" in str(line) for line in log_lines(log))


async def test_every_worker_reloads(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    write_settings(tmp_path, port, gateway="workers = 2")
    with gateway_process(tmp_path) as (process, log):
        await wait_until_alive(client, url)
        write_settings(tmp_path, port, backend_url=upstream.url, gateway="workers = 2")
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while log.read_text().count("backends reloaded") < 2:
                await asyncio.sleep(0.05)
        for _ in range(6):
            async with aiohttp.ClientSession() as another:
                assert await ask(another, url) == 200
