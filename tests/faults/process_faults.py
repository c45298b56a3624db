"""What may happen to a process: killed, stopped for a while, slowed at its disk."""

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.faults.nemesis import Nemesis
from tests.faults.requirements import find_program
from tests.faults.topology import ThreeHosts

RUN_WORKER = "run-worker"
"""The process of a run in progress, which the code server has started."""


def processes_of(platform: ThreeHosts, target: str) -> list[psutil.Process]:
    """Return the processes of a part, or of the runs in progress."""
    if target == RUN_WORKER:
        return platform.parts["dagster-code"].processes()[1:]
    processes = platform.parts[target].processes()
    # A run is a fault's target of its own.
    return processes[:1] if target == "dagster-code" else processes


@dataclass(frozen=True)
class Kill(Nemesis):
    """`kill -9`; what the supervisor does about it, it does after `seconds`."""

    name = "kill"

    async def begin(self, platform: ThreeHosts) -> None:
        if self.target == RUN_WORKER:
            for process in processes_of(platform, self.target):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            return
        part = platform.parts[self.target]
        part.hold()
        part.kill()

    async def end(self, platform: ThreeHosts) -> None:
        if self.target != RUN_WORKER:
            platform.parts[self.target].release()


@dataclass(frozen=True)
class Restart(Nemesis):
    """An orderly stop and, after `seconds`, a start."""

    name = "restart"

    async def begin(self, platform: ThreeHosts) -> None:
        await platform.parts[self.target].stop()

    async def end(self, platform: ThreeHosts) -> None:
        platform.parts[self.target].release()


@dataclass(frozen=True)
class Pause(Nemesis):
    """SIGSTOP for `seconds`: everything of the process stands still, and nothing is closed."""

    name = "pause"
    _stopped: list[psutil.Process] = field(default_factory=list, compare=False, repr=False)

    async def begin(self, platform: ThreeHosts) -> None:
        for process in processes_of(platform, self.target):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
                self._stopped.append(process)

    async def end(self, platform: ThreeHosts) -> None:
        while self._stopped:
            with suppress(psutil.NoSuchProcess):
                self._stopped.pop().send_signal(signal.SIGCONT)


@dataclass(frozen=True)
class SlowDisk(Nemesis):
    """Every sync of the process to its disk takes `delay` seconds longer."""

    name = "slow disk"
    delay: float = 0.2
    _tracers: list[asyncio.subprocess.Process] = field(
        default_factory=list, compare=False, repr=False
    )

    @property
    def detail(self) -> str:
        return f"{self.delay:.2f} s a sync,"

    async def begin(self, platform: ThreeHosts) -> None:
        strace = find_program("strace")
        assert strace is not None
        pids = [str(each.pid) for each in processes_of(platform, self.target)]
        if not pids:
            return
        calls = "fsync,fdatasync,sync_file_range,msync"
        self._tracers.append(
            await asyncio.create_subprocess_exec(
                *(strace, "-f", "-q", "-o", "/dev/null"),
                *("-e", f"trace={calls}"),
                *("-e", f"inject={calls}:delay_enter={int(self.delay * 1_000_000)}"),
                *(argument for pid in pids for argument in ("-p", pid)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        )

    async def end(self, platform: ThreeHosts) -> None:
        while self._tracers:
            tracer = self._tracers.pop()
            with suppress(ProcessLookupError):
                tracer.terminate()
            await tracer.wait()
