"""`python -m gateway` as a process of its own, with the settings of a test."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).parents[2]
_LIMIT_SECONDS = 30


def environment(tmp_path: Path, **settings: str) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLUICE_") and name not in ("DATABASE_URL", "NATS_URL")
    }
    config = tmp_path / "sluice.toml"
    config.touch()
    return {**inherited, "PYTHONPATH": str(ROOT), "SLUICE_CONFIG": str(config), **settings}


@contextmanager
def gateway_process(
    tmp_path: Path, **settings: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run the gateway; at the end it is told to stop, and killed where it does not."""
    log = tmp_path / "gateway.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            env=environment(tmp_path, **settings),
            cwd=tmp_path,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_until_exit(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environment(tmp_path, **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
        check=False,
    )


def write_settings(
    tmp_path: Path,
    port: int,
    *,
    backend_url: str = "",
    gateway: str = "",
    backend_settings: str = "",
    more: str = "",
) -> None:
    """Write `sluice.toml`: JSON log lines, no broker, no database, a backend where one is given."""
    backend = f"""
        [[backends]]
        name = "scripted"
        kind = "vllm"
        url = "{backend_url}"
        models = ["tiny"]
        {backend_settings}
    """
    new = tmp_path / "sluice.toml.new"
    new.write_text(
        f"""
        [gateway]
        port = {port}
        log_format = "json"
        {gateway}
        [encoder]
        enabled = false
        [nats]
        url = "nats://127.0.0.1:1"
        [postgres]
        url = "postgresql://sluice@127.0.0.1:1/sluice"
        {backend if backend_url else ""}
        {more}
        """
    )
    new.replace(tmp_path / "sluice.toml")


async def wait_until_alive(client: aiohttp.ClientSession, url: str, **options: Any) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        try:
            async with client.get(f"{url}/healthz", **options) as response:
                assert response.status == 200
                return
        except aiohttp.ClientConnectionError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


def log_lines(log: Path) -> list[dict[str, Any]]:
    """Return the JSON lines that are complete."""
    return [json.loads(line) for line in log.read_text().split("\n")[:-1] if line.startswith("{")]


async def wait_for_line(log: Path, is_wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Return the first log line that is wanted, once it is there."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while True:
        for line in log_lines(log):
            if is_wanted(line):
                return line
        assert time.monotonic() < deadline, log.read_text()
        await asyncio.sleep(0.05)
