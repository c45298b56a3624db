"""Runs one server of the platform for the length of a test."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sluice.servers.spec import NotReady, ProcessSpec


@contextmanager
def running(spec: ProcessSpec, *, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process of `spec`, wait until its probe passes, and stop it at the end."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            spec.command,
            env={**os.environ, **spec.environment},
            cwd=spec.working_dir,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(spec, process, log)
        yield process
    finally:
        stop(process, spec)


class RestartableServer:
    """A server that a test takes away and brings back, with what it has stored."""

    def __init__(self, spec: ProcessSpec, *, log: Path) -> None:
        self._spec = spec
        self._log = log
        self._running = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RestartableServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready; one that hangs goes on."""
        if self._process is None:
            self._process = self._running.enter_context(running(self._spec, log=self._log))
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._running.close()
        self._process = None

    def kill(self) -> None:
        """End it without a chance to put anything in order."""
        if self._process is not None:
            self._process.kill()
        self.stop()

    def hang(self) -> None:
        """Have it take connections and answer nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)


def stop(process: subprocess.Popen[bytes], spec: ProcessSpec) -> None:
    """Stop the process as the supervisor would; kill it when that does not help."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
        process.send_signal(spec.stop_signal)
    try:
        process.wait(spec.stop_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(spec: ProcessSpec, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + spec.ready_seconds
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{spec.name} ended at its start:\n{log.read_text()[-3000:]}")
        try:
            asyncio.run(spec.probe())
        except NotReady as reason:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{spec.name} is not ready: {reason}") from reason
            time.sleep(0.05)
        else:
            return
