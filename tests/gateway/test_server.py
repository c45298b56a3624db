"""`python -m gateway`: what it refuses, what it logs, how it stops."""

import json
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from gateway.access.opening import is_loopback
from gateway.starting import CannotStart, open_listener
from tests.gateway.conftest import chat_body
from tests.gateway.gateway_process import (
    ROOT,
    gateway_process,
    run_until_exit,
    wait_until_alive,
)
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


def test_it_refuses_to_bind_where_others_reach_it(tmp_path: Path) -> None:
    finished = run_until_exit(tmp_path, SLUICE_GATEWAY_HOST="0.0.0.0")
    assert finished.returncode == 1
    assert "gateway.host = '0.0.0.0' is not a loopback address" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "::", "10.0.0.1", "example.org"])
def test_other_hosts(host: str) -> None:
    assert not is_loopback(host)


def test_a_taken_port_is_named_with_its_setting() -> None:
    with open_listener("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=rf"{port}.*SLUICE_GATEWAY_PORT"):
            open_listener("127.0.0.1", port)


def test_wrong_settings_stop_the_start(tmp_path: Path) -> None:
    finished = run_until_exit(tmp_path, SLUICE_GATEWAY_PORT="http")
    assert finished.returncode == 1
    assert "gateway.port" in finished.stderr


def test_a_database_url_that_is_none_stops_the_start(tmp_path: Path) -> None:
    finished = run_until_exit(
        tmp_path, SLUICE_GATEWAY_PORT=str(free_port()), SLUICE_POSTGRES_URL="pw-secret nonsense"
    )
    assert finished.returncode == 1
    assert "postgres.url" in finished.stderr
    assert "secret" not in finished.stderr


async def test_missing_parts_of_the_fast_server_are_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['httptools'] = None\n")
    finished = run_until_exit(tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert finished.returncode == 1
    assert "httptools" in finished.stderr


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
async def test_one_json_line_a_request_and_no_secret_in_it(
    tmp_path: Path,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    stop_signal: signal.Signals,
) -> None:
    port = free_port()
    (tmp_path / "sluice.toml").write_text(
        f"""
        [gateway]
        port = {port}
        log_format = "json"
        shutdown_grace_seconds = 1
        [nats]
        url = "nats://gateway:nats-secret@127.0.0.1:{free_port()}"
        [postgres]
        url = "postgresql://sluice:database-secret@127.0.0.1:{free_port()}/sluice"
        [[backends]]
        name = "scripted"
        kind = "vllm"
        url = "{upstream.url}"
        models = ["tiny"]
        api_key = "sk-backend-secret"
        """
    )
    with gateway_process(tmp_path) as (process, log):
        url = f"http://127.0.0.1:{port}"
        await wait_until_alive(client, url)
        headers = {"Authorization": "Bearer sk-client-secret", "X-Correlation-ID": "logged"}
        async with client.post(url + CHAT, json=chat_body(), headers=headers) as response:
            assert response.status == 200
        async with client.get(f"{url}/healthz?verbose", headers=headers) as response:
            assert "secret" not in await response.text()
        process.send_signal(stop_signal)
        started = time.monotonic()
        process.wait(10)
        assert time.monotonic() - started < 4
    text = log.read_text()
    assert "secret" not in text
    assert "Traceback" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [line for line in lines if line.get("path") == CHAT]
    assert (line["event"], line["method"], line["status"]) == ("request", "POST", 200)
    assert (line["model"], line["backend"], line["call_status"]) == (
        "tiny",
        "scripted",
        "completed",
    )
    assert (line["prompt_tokens"], line["completion_tokens"]) == (9, 2)
    assert line["correlation_id"] == "logged"
    assert 0 < line["duration_seconds"] < 5
    [lost] = [line for line in lines if line["event"] == "events dropped"]
    assert (lost["reason"], lost["subject"], lost["count"]) == (
        "shutdown",
        "telemetry.knowledge.chat",
        1,
    )
    [kept] = [line for line in lines if line["event"] == "events stay in the spool"]
    assert kept["events"] == 2


async def test_console_lines(
    tmp_path: Path, upstream: ScriptedUpstream, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    settings = {"SLUICE_GATEWAY_PORT": str(port), "SLUICE_GATEWAY_LOG_FORMAT": "console"}
    with gateway_process(tmp_path, **settings) as (process, log):
        url = f"http://127.0.0.1:{port}"
        await wait_until_alive(client, url)
        async with client.get(f"{url}/v1/models", headers={"X-Request-ID": "a b"}) as response:
            assert response.status == 200
        async with client.get(f"{url}/a%0Ab%1B[31m") as response:
            assert response.status == 404
        process.terminate()
        process.wait(30)
    # The line follows its answer: all are there once the gateway has stopped.
    text = log.read_text()
    assert "path=/a\\nb\\x1b[31m" in text
    assert "info     request method=GET path=/v1/models status=200" in text
    assert "correlation_id=a b" in text
