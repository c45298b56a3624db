"""How much memory a process holds, and how fast that grows."""

from collections.abc import Sequence
from statistics import linear_regression

import psutil

_MEBIBYTE = 2**20


def resident_mebibytes(process_id: int) -> float:
    """Return the resident memory of the process and its children."""
    process = psutil.Process(process_id)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / (
        _MEBIBYTE
    )


def growth_per_minute(seconds: Sequence[float], mebibytes: Sequence[float]) -> float:
    """Return the slope of a line through the samples, in MiB a minute."""
    return linear_regression(seconds, mebibytes).slope * 60
