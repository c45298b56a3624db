"""Runs one server of the platform for the length of a test."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
