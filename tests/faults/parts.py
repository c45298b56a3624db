"""The platform's processes on their hosts, kept running as a service manager would."""

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from sluice.servers.spec import NotReady, Probe, ProcessSpec
from tests.faults.clocks import Clock
from tests.faults.network import Network

_RESTART_SECONDS = 1.0
_LIVENESS_SECONDS = 2.0
_READY_SECONDS = 240.0
"""Twenty on an idle machine."""
_PR_SET_PDEATHSIG = 1


@dataclass
class Part:
    """One process of the platform: started on its host, and again whenever it ends."""

    host: str
    spec: ProcessSpec
    network: Network
    log: Path
    environment: Mapping[str, str]
    clock: Clock | None = None
    """None: its clock cannot be set."""
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _watcher: asyncio.Task[None] | None = None
    _liveness: asyncio.Task[None] | None = None
    _may_run: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        """Raises LookupError where it does not run."""
        if self._process is None or self._process.returncode is not None:
            raise LookupError(f"{self.name} is not running")
        return self._process.pid

    async def start(self) -> None:
        """Start it, keep it running, and wait until it is ready.

        Raises:
            NotReady: it is not ready in time.
        """
        self._may_run.set()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._keep_running())
            if self.spec.liveness is not None:
                self._liveness = asyncio.create_task(self._watch_liveness(self.spec.liveness))
        await self._wait_until_ready()

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                await self.spec.probe()
            except NotReady:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    def processes(self) -> list[psutil.Process]:
        """The process and all that came of it; none where it does not run."""
        try:
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        except (LookupError, psutil.NoSuchProcess):
            return []

    def hold(self) -> None:
        """Do not start it again until `release`."""
        self._may_run.clear()

    def release(self) -> None:
        self._may_run.set()

    async def stop(self) -> None:
        """End it in order, as its host's shutdown would; kill it where that does not help."""
        self.hold()
        try:
            os.kill(self.pid, self.spec.stop_signal)
        except LookupError:
            return
        process = self._process
        assert process is not None
        deadline = time.monotonic() + self.spec.stop_seconds
        while process.returncode is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """Kill -9 the process; what it has started lives on, as it would."""
        with suppress(LookupError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Stop keeping it running, and kill all of it."""
        self.hold()
        tasks = [task for task in (self._watcher, self._liveness) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        victims = self.processes()
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if self._process is not None:
            await _end_of(self._process)

    async def _keep_running(self) -> None:
        while True:
            await self._may_run.wait()
            self._process = await self._spawn()
            await _end_of(self._process)
            await asyncio.sleep(_RESTART_SECONDS)
            self.restarts += 1

    async def _watch_liveness(self, liveness: Probe) -> None:
        """As `sluice dev` does, only sooner."""
        failures = 0
        while True:
            await asyncio.sleep(_LIVENESS_SECONDS)
            try:
                await liveness()
            except NotReady:
                failures += 1
            else:
                failures = 0
            if failures == 2:
                self.kill()

    async def _spawn(self) -> asyncio.subprocess.Process:
        clock = {} if self.clock is None else self.clock.environment
        with self.log.open("ab") as stream:
            return await asyncio.create_subprocess_exec(
                *self.network.enter(self.host),
                *self.spec.command,
                env={**self.environment, **self.spec.environment, **clock},
                cwd=self.spec.working_dir,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )


async def _end_of(process: asyncio.subprocess.Process) -> None:
    while process.returncode is None:
        await asyncio.sleep(0.05)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def spec_of(spec: ProcessSpec, *, probe: Probe) -> ProcessSpec:
    """Return `spec` with a probe that works from another host."""
    return replace(spec, probe=probe)


def kill_marked(variable: str, mark: str) -> None:
    """Kill every process whose environment has `variable` with the value `mark`."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == mark and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue
