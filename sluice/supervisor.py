"""Runs the platform's processes in the foreground: start, readiness, logs, restart, ordered stop.

Our own because the kept libraries each miss a part: honcho stops everything at once, so the
gateway could not flush to a broker that is going away too; supervisor and circus know no
readiness, which our start order depends on.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from contracts.child_processes import end_with_parent
from sluice.servers.spec import NotReady, Probe, ProcessSpec

_RESTARTS = 5
_RESTART_WINDOW_SECONDS = 60.0
_PROBE_INTERVAL_SECONDS = 0.1
_LIVENESS_INTERVAL_SECONDS = 5.0
_LIVENESS_FAILURES = 3

LogLine = Callable[[str, str], None]
"""Called with the process's name and one line of its output."""


class ProcessFailed(Exception):
    """A process did not become ready, or kept ending."""


@dataclass
class _Running:
    spec: ProcessSpec
    process: asyncio.subprocess.Process
    pump: asyncio.Task[None]
    watcher: asyncio.Task[None] | None = None
    liveness: asyncio.Task[None] | None = None
    started_at: list[float] = field(default_factory=list)
    ended: list[tuple[asyncio.subprocess.Process, asyncio.Task[None]]] = field(default_factory=list)
    """Earlier processes and the pumps of their output."""


class Supervisor:
    """Processes started one after another or together, and stopped in the reverse order."""

    def __init__(self, log: LogLine) -> None:
        self._log = log
        self._running: list[list[_Running]] = []
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_stopping = False

    async def start(self, specs: Sequence[ProcessSpec]) -> None:
        """Start `specs` together and wait until each is ready.

        Raises:
            ProcessFailed: one ended or was not ready in time.
        """
        group: list[_Running] = []
        self._running.append(group)
        for spec in specs:
            running = await self._spawn(spec)
            group.append(running)
        await asyncio.gather(*(self._wait_until_ready(each) for each in group))
        for each in group:
            each.watcher = asyncio.create_task(self._restart_when_it_ends(each))
            if each.spec.liveness is not None:
                each.liveness = asyncio.create_task(
                    self._end_when_it_fails(each, each.spec.liveness)
                )

    async def wait(self) -> None:
        """Wait for ever. Raises ProcessFailed when a process cannot be kept running."""
        await self._failure

    async def stop(self) -> None:
        """Stop the groups in the reverse order of their start, leaving no process behind."""
        self._is_stopping = True
        while self._running:
            await asyncio.gather(*(self._stop(each) for each in self._running.pop()))

    async def _spawn(self, spec: ProcessSpec) -> _Running:
        process = await asyncio.create_subprocess_exec(
            *spec.command,
            env={**os.environ, **spec.environment},
            cwd=spec.working_dir,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal is for us alone: we stop the others in order.
            start_new_session=True,
            preexec_fn=end_with_parent,
            limit=1024 * 1024,
        )
        pump = asyncio.create_task(self._pump(spec, process))
        return _Running(spec, process, pump, started_at=[time.monotonic()])

    async def _pump(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                self._log(spec.name, "(a line too long to show)")
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip("\n")
            if spec.routine_lines is None or not spec.routine_lines.search(text):
                self._log(spec.name, text)

    async def _wait_until_ready(self, running: _Running) -> None:
        spec = running.spec
        deadline = time.monotonic() + spec.ready_seconds
        while True:
            if running.process.returncode is not None:
                raise ProcessFailed(
                    f"{spec.name} ended with code {running.process.returncode} at its start"
                )
            try:
                await spec.probe()
            except NotReady as reason:
                if time.monotonic() > deadline:
                    raise ProcessFailed(
                        f"{spec.name} is not ready after {spec.ready_seconds:.0f} s: {reason}"
                    ) from reason
                await asyncio.sleep(_PROBE_INTERVAL_SECONDS)
            else:
                return

    async def _restart_when_it_ends(self, running: _Running) -> None:
        while True:
            code = await _end_of(running.process)
            if self._is_stopping:
                return
            self._log(running.spec.name, f"ended with code {code}")
            now = time.monotonic()
            recent = [at for at in running.started_at if now - at < _RESTART_WINDOW_SECONDS]
            if len(recent) > _RESTARTS:
                self._fail(ProcessFailed(f"{running.spec.name} keeps ending"))
                return
            await asyncio.sleep(min(2.0 ** (len(recent) - 1), 8.0))
            if self._is_stopping:
                return
            self._log(running.spec.name, "is started again")
            fresh = await self._spawn(running.spec)
            running.ended.append((running.process, running.pump))
            running.process, running.pump = fresh.process, fresh.pump
            running.started_at = [*recent, now]

    async def _end_when_it_fails(self, running: _Running, liveness: Probe) -> None:
        failures = 0
        while True:
            await asyncio.sleep(_LIVENESS_INTERVAL_SECONDS)
            try:
                await liveness()
            except NotReady as reason:
                failures += 1
                if failures == _LIVENESS_FAILURES:
                    failures = 0
                    self._log(running.spec.name, f"has to be started again: {reason}")
                    await self._end(running)
            else:
                failures = 0

    def _fail(self, failure: ProcessFailed) -> None:
        if not self._failure.done():
            self._failure.set_exception(failure)

    async def _end(self, running: _Running) -> None:
        process = running.process
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(running.spec.stop_signal)
        try:
            await asyncio.wait_for(_end_of(process), running.spec.stop_seconds)
        except TimeoutError:
            self._log(running.spec.name, "does not stop, so it is killed")
            with suppress(ProcessLookupError):
                process.kill()

    async def _stop(self, running: _Running) -> None:
        process = running.process
        if running.liveness is not None:
            running.liveness.cancel()
        await self._end(running)
        # The session's other processes too, such as a code location's run workers.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for earlier, pump in running.ended:
            # An open output means that its session lives, so that its number is still its own.
            if not pump.done():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(earlier.pid, signal.SIGKILL)
        await process.wait()
        if running.watcher is not None:
            running.watcher.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(running.pump, 1.0)


async def _end_of(process: asyncio.subprocess.Process) -> int:
    """Return the exit code once the process itself has ended.

    asyncio's own `wait` waits for the end of the output too, which a child that outlives the
    process holds open: a code location's run workers do.
    """
    while process.returncode is None:  # noqa: ASYNC110 - asyncio has no event for it
        await asyncio.sleep(_PROBE_INTERVAL_SECONDS)
    return process.returncode
