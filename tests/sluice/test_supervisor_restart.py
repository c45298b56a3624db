"""A process that dies and leaves children behind, such as a code location with run workers."""

import asyncio
import signal
import sys
from collections.abc import Callable

import psutil

from sluice.servers.spec import ProcessSpec
from sluice.supervisor import Supervisor

_PARENT = """
import subprocess, time
child = subprocess.Popen(["sleep", "120"])
print(child.pid, flush=True)
time.sleep(120)
"""


async def _always_ready() -> None:
    pass


async def _wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.1)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_restart_does_not_wait_for_children_and_stop_ends_them() -> None:
    child_pids: list[int] = []

    def log(_name: str, line: str) -> None:
        if line.isdigit():
            child_pids.append(int(line))

    spec = ProcessSpec(name="parent", command=(sys.executable, "-c", _PARENT), probe=_always_ready)
    supervisor = Supervisor(log)
    await supervisor.start([spec])
    await _wait_for(lambda: len(child_pids) == 1)
    parent = psutil.Process(child_pids[0]).parent()
    assert parent is not None
    parent.send_signal(signal.SIGKILL)

    # The orphan holds the dead parent's output open.
    await _wait_for(lambda: len(child_pids) == 2)
    assert _lives(child_pids[0])

    await supervisor.stop()
    await _wait_for(lambda: not any(map(_lives, child_pids)))
