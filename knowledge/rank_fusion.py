"""Several rankings of chunks made one."""

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

RRF_CONSTANT = 60
"""Damps the lead of the first ranks; 60 as in the paper, where values around it did the same."""


def fuse_rankings(*rankings: Sequence[Item], constant: int = RRF_CONSTANT) -> dict[Item, float]:
    """Return the reciprocal rank fusion of `rankings`: ID to score, best first.

    The score is the sum of 1 / (constant + rank) over the rankings that hold the ID, ranks from 1
    (Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods", SIGIR 2009). Of equal scores the one of the earlier ranking comes
    first.

    Args:
        rankings: IDs, best first, each at most once in a ranking.
    """
    scores: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (constant + rank)
    return dict(sorted(scores.items(), key=lambda scored: -scored[1]))
