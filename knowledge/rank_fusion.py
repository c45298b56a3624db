"""Several rankings of chunks made one."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

Item = TypeVar("Item")

RRF_CONSTANT = 60
"""Damps the lead of the first ranks; 60 as in the paper, where values around it did the same."""

TEXT_WEIGHT = 1.5
"""Of the squared share of the question that a chunk's words cover, against the cosine. Chosen on
the Python manual and confirmed on the PostgreSQL manual; 1 to 2 did nearly the same."""


def fuse_scores(
    text: Mapping[Item, float], vector: Mapping[Item, float], compared: Mapping[Item, float]
) -> dict[Item, float]:
    """Return the weighted sum of both searches' scores: ID to score, best first.

    Unlike ranks, the scores tell how well the best chunk fits: full text finds a heading's words
    all together, of a question in other words only a few, and then the nearest vectors are the
    better answer. Squaring the share makes that difference felt. Over the judged questions and
    known items of two manuals this did better than either search, which reciprocal rank fusion
    did not (`sluice eval`; weighted sums against rank fusion in general: Bruch, Gai and Ingber,
    "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 2023).

    Args:
        text: shares of the question covered, 0 to 1.
        vector: cosine similarities of the nearest chunks.
        compared: cosine similarities of further chunks. One that is in none of both is taken to
            be as far as the last of the nearest.
    """
    farthest = min(vector.values(), default=0.0)
    scores = {
        item: TEXT_WEIGHT * text.get(item, 0.0) ** 2
        + (vector[item] if item in vector else compared.get(item, farthest))
        for item in {**vector, **text}
    }
    return dict(sorted(scores.items(), key=lambda scored: -scored[1]))


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
