"""Gives the tested process a core of its own, as far as the machine has one to spare."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_core_reserved() -> Iterator[tuple[str, ...]]:
    """Keep this process and its children off one core; yield the command prefix that uses it.

    The prefix is empty where there is but one core, or no `taskset` to pin with.
    """
    cores = os.sched_getaffinity(0)
    taskset = shutil.which("taskset")
    if len(cores) == 1 or taskset is None:
        yield ()
        return
    reserved = min(cores)
    os.sched_setaffinity(0, cores - {reserved})
    try:
        yield (taskset, "--cpu-list", str(reserved))
    finally:
        os.sched_setaffinity(0, cores)
