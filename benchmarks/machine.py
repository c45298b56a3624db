"""What a figure was measured on, and whether something else ran there at the time."""

import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The hardware and software below a figure."""

    cpu_model: str
    core_count: int
    memory_gib: float
    kernel: str
    python_version: str


def describe_machine() -> Machine:
    """Read the machine's description from the operating system."""
    return Machine(
        cpu_model=_cpu_model(),
        core_count=len(os.sched_getaffinity(0)),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python_version=platform.python_version(),
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


class ForeignLoad:
    """How much of the machine others use while we measure."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._machine_seconds = _busy_seconds()
        self._own_seconds = _own_seconds()

    def cores(self) -> float:
        """Return how many cores others kept busy since the start, on average."""
        elapsed = time.monotonic() - self._started
        own = _own_seconds() - self._own_seconds
        return max(0.0, (_busy_seconds() - self._machine_seconds - own) / elapsed)


def _own_seconds() -> float:
    """Return the processor seconds of this process and its descendants, ended ones included."""
    own = psutil.Process()
    seconds = 0.0
    for process in (own, *own.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            # A process that has ended counts among its parent's children.
            seconds += sum(process.cpu_times()[:4])
    return seconds


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
