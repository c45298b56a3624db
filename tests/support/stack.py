"""The whole platform for a test: `sluice dev` as a subprocess, on free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psutil

from tests.support.ports import free_port

T = TypeVar("T")

START_SECONDS = 240
"""Ten on an idle machine; test machines are rarely idle."""
_STOP_SECONDS = 30
_MARK_VARIABLE = "PLATFORM_STACK_MARK"
"""Inherited by every process of a platform, however it was started."""

_PORT_SETTINGS = (
    "SLUICE_GATEWAY_PORT",
    "SLUICE_DAGSTER_PORT",
    "SLUICE_ENCODER_PORT",
    "SLUICE_ENCODER_GRPC_PORT",
    "SLUICE_NATS_PORT",
    "SLUICE_NATS_MONITOR_PORT",
    "SLUICE_POSTGRES_PORT",
)
_PART_MARKS = {
    "postgres": "bin/postgres",
    "nats": "nats-server",
    "encoder": "-m encoder",
    "gateway": "-m gateway",
    "dagster-code": "-m sluice.servers.code_server",
    "dagster-web": "dagster_webserver",
    "dagster-daemon": "dagster._daemon",
}


@dataclass
class PlatformStack:
    """A running `sluice dev` and where its parts answer."""

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    working_dir: Path
    log: Path
    log_offset: int = 0
    """Where this run's output begins in `log`."""
    _endpoints: dict[str, str] = field(default_factory=dict)

    def status(self) -> dict[str, Any]:
        """What `sluice status --json` prints."""
        result = self.sluice("status", "--json")
        report: dict[str, Any] = json.loads(result.stdout)
        return report

    @property
    def endpoints(self) -> dict[str, str]:
        """Part → address; the same as long as the platform runs."""
        if not self._endpoints:
            self._endpoints = self.status()["endpoints"]
        return self._endpoints

    @property
    def data_dir(self) -> Path:
        return self.working_dir / self.environment.get("SLUICE_DATA_DIR", ".sluice")

    @property
    def ports(self) -> dict[str, str]:
        """The settings of the ports, for another start on the same ones."""
        return {name: self.environment[name] for name in _PORT_SETTINGS}

    def sluice(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line against this platform."""
        return subprocess.run(
            [sys.executable, "-m", "sluice.cli", *arguments],
            env=dict(self.environment),
            cwd=self.working_dir,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def part(self, name: str) -> psutil.Process:
        """The process of a part: `postgres`, `encoder`, `dagster-code` and the like.

        Raises:
            LookupError: it does not run.
        """
        for child in psutil.Process(self.process.pid).children():
            try:
                command = " ".join(child.cmdline())
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if _PART_MARKS[name] in command:
                return child
        raise LookupError(f"{name} is not running")

    def processes(self) -> list[psutil.Process]:
        """Every process of this platform that is still there, orphans included."""
        mark = self.environment[_MARK_VARIABLE]
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get(_MARK_VARIABLE) == mark
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Send the signal and wait for the end; return the seconds that took.

        Raises:
            subprocess.TimeoutExpired: it did not end in time, and was killed.
        """
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        return time.monotonic() - started

    @property
    def output(self) -> str:
        """What this run has printed so far."""
        return self.log.read_bytes()[self.log_offset :].decode(errors="replace")

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.output.splitlines()[-lines:])


def stack_environment(
    folder: Path, *, settings: Mapping[str, str] | None = None, configuration: str = ""
) -> dict[str, str]:
    """Return the environment of a platform with its data in `folder`, on free ports."""
    folder.mkdir(parents=True, exist_ok=True)
    config_file = folder / "sluice.toml"
    config_file.write_text(configuration)
    return {
        **stack_environment_of_defaults(),
        "SLUICE_DATA_DIR": str(folder / "data"),
        "SLUICE_CONFIG": str(config_file),
        **(settings or {}),
    }


def stack_environment_of_defaults() -> dict[str, str]:
    """Return an environment in which everything but the ports is left at its default."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLUICE_", "DAGSTER_")) and name not in ("DATABASE_URL", "NATS_URL")
    }
    ports = {name: str(free_port()) for name in _PORT_SETTINGS}
    return {**inherited, **ports, _MARK_VARIABLE: uuid4().hex, "PYTHONUNBUFFERED": "1"}


@contextmanager
def running_platform(
    folder: Path, *, settings: Mapping[str, str] | None = None, configuration: str = ""
) -> Iterator[PlatformStack]:
    """Start the platform with its data in `folder`, and stop it with Ctrl-C at the end.

    Args:
        settings: environment variables such as `SLUICE_PIPELINE_ACK_WAIT_SECONDS`.
        configuration: content of `sluice.toml`.
    """
    environment = stack_environment(folder, settings=settings, configuration=configuration)
    with running_sluice_dev(environment, log=folder / "sluice-dev.log") as stack:
        yield stack


@contextmanager
def running_sluice_dev(
    environment: Mapping[str, str], *, log: Path, working_dir: Path | None = None
) -> Iterator[PlatformStack]:
    """Run `sluice dev` in `working_dir`, wait until it is ready, and stop it at the end."""
    working_dir = working_dir or Path.cwd()
    log_offset = log.stat().st_size if log.exists() else 0
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice.cli", "dev"],
            env=dict(environment),
            cwd=working_dir,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = PlatformStack(process, environment, working_dir, log, log_offset)
    try:
        _wait_until_ready(stack)
        yield stack
    finally:
        stack.stop()


def wait_until(
    condition: Callable[[], T], *, seconds: float, interval: float = 0.5, what: str = ""
) -> T:
    """Return the first true value of `condition()`; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(interval)


def _wait_until_ready(stack: PlatformStack) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ctrl-C stops everything" not in stack.output:
        if stack.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the platform did not start:\n{stack.tail()}")
        time.sleep(0.2)
