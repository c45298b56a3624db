"""Processor time and memory of a platform's parts, each with all that it has started."""

from collections.abc import Iterable, Mapping

import psutil

from tests.support.stack import PlatformStack

PARTS = ("postgres", "nats", "gateway", "dagster-code", "dagster-daemon", "dagster-web")


def cpu_seconds(stack: PlatformStack, parts: Iterable[str] = PARTS) -> dict[str, float]:
    """Return part → processor seconds so far, those of processes that have ended included.

    A process that has ended counts among its parent's children, so nothing is lost as long as
    the part itself lives.
    """
    return {name: sum(_seconds(each) for each in _tree(stack.part(name))) for name in parts}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return part → processor seconds between two readings."""
    return {name: after[name] - before[name] for name in after}


def resident_mib(stack: PlatformStack, parts: Iterable[str]) -> dict[str, float]:
    """Return part → resident memory of its own process, in MiB."""
    return {name: stack.part(name).memory_info().rss / 2**20 for name in parts}


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
