"""How sure a mean over queries is, and the difference between two stages' means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 20021
_BLOCK_VALUES = 2_000_000
"""Of drawn indices that are in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean with the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def is_positive(self) -> bool:
        """Whether it is above zero beyond chance."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """Whether it is below zero beyond chance."""
        return self.high < 0


def estimate_mean(values: Sequence[float]) -> Estimate:
    """Return the mean of `values`, one for each query, with its interval.

    The interval is the percentile bootstrap's over queries (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). The same values give the same interval.

    Raises:
        ValueError: there is no value.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a mean needs at least one query")
    means = np.concatenate([array[indices].mean(axis=1) for indices in _draw(array.size)])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Estimate(float(array.mean()), float(low), float(high))


def compare_means(values: Sequence[float], others: Sequence[float]) -> Estimate:
    """Return by how much the mean of `values` exceeds that of `others`, with its interval.

    Both are of the same queries in the same order: their differences are resampled, so that easy
    and hard queries do not blur the comparison.

    Raises:
        ValueError: the numbers of values differ, or there is none.
    """
    pairs = zip(values, others, strict=True)
    return estimate_mean([value - other for value, other in pairs])


def _draw(size: int) -> Iterator[NDArray[np.int64]]:
    """Yield blocks of resamples: rows of `size` indices, drawn with replacement."""
    generator = np.random.default_rng(_SEED)
    rows_at_a_time = max(1, _BLOCK_VALUES // size)
    for start in range(0, RESAMPLES, rows_at_a_time):
        rows = min(rows_at_a_time, RESAMPLES - start)
        yield generator.integers(0, size, size=(rows, size))
