"""The whole platform for a test: `sluice dev` as a subprocess, on free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.ports import free_port

_START_SECONDS = 120


@dataclass
class PlatformStack:
    """A running `sluice dev` and where its parts answer."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path

    def status(self) -> dict[str, Any]:
        """What `sluice status --json` prints."""
        result = self.sluice("status", "--json")
        report: dict[str, Any] = json.loads(result.stdout)
        return report

    @property
    def endpoints(self) -> dict[str, str]:
        endpoints: dict[str, str] = self.status()["endpoints"]
        return endpoints

    def sluice(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this platform."""
        return subprocess.run(
            [sys.executable, "-m", "sluice.cli", *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def part(self, name: str) -> psutil.Process:
        """The process of `postgres`, `nats`, `gateway`, `dagster-code`, `-web` or `-daemon`."""
        marks = {
            "postgres": "bin/postgres",
            "nats": "nats-server",
            "gateway": "-m gateway",
            "dagster-code": "dagster api grpc",
            "dagster-web": "dagster_webserver",
            "dagster-daemon": "dagster._daemon",
        }
        for child in psutil.Process(self.process.pid).children():
            if marks[name] in " ".join(child.cmdline()):
                return child
        raise LookupError(f"{name} is not running")

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@contextmanager
def running_platform(
    folder: Path, *, settings: Mapping[str, str] | None = None, configuration: str = ""
) -> Iterator[PlatformStack]:
    """Start the platform with its data in `folder`, and stop it with Ctrl-C at the end.

    Args:
        settings: environment variables such as `SLUICE_PIPELINE_ACK_WAIT_SECONDS`.
        configuration: content of `sluice.toml`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config_file = folder / "sluice.toml"
    config_file.write_text(configuration)
    ports = {
        name: str(free_port())
        for name in (
            "SLUICE_GATEWAY_PORT",
            "SLUICE_DAGSTER_PORT",
            "SLUICE_NATS_PORT",
            "SLUICE_NATS_MONITOR_PORT",
            "SLUICE_POSTGRES_PORT",
        )
    }
    environment = {
        **os.environ,
        **ports,
        "SLUICE_DATA_DIR": str(folder / "data"),
        "SLUICE_CONFIG": str(config_file),
        **(settings or {}),
    }
    log = folder / "sluice-dev.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice.cli", "dev"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = PlatformStack(process, environment, log)
    try:
        _wait_until_ready(stack)
        yield stack
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Any, *, seconds: float, interval: float = 0.5) -> Any:
    """Return the first true value of `condition()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(interval)


def _wait_until_ready(stack: PlatformStack) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while "Try it:" not in stack.log.read_text(errors="replace"):
        if stack.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the platform did not start:\n{stack.tail()}")
        time.sleep(0.2)
