"""Measures of one ranking against graded judgements."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import numpy as np

Grades = Mapping[UUID, int]
"""Chunks and how relevant they are: 3 the answer, 2 a part of it, 1 a help to find it."""

RELEVANT_GRADE = 2
"""From here on a chunk counts as found, where only relevant or not is asked."""

NDCG = "ndcg@10"
MRR = "mrr@10"


def compute_ndcg(ranking: Sequence[UUID], grades: Grades, cutoff: int = 10) -> float:
    """Return the normalized discounted cumulated gain of the first `cutoff` chunks, 0 to 1.

    The gain of a chunk is its grade, the discount log2(rank + 1); the ideal order is that of all
    judged chunks by grade (Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR
    techniques", ACM TOIS 20(4), 2002; discount as in trec_eval's `ndcg_cut`).

    Raises:
        ValueError: nothing is judged.
    """
    ideal = sorted(grades.values(), reverse=True)[:cutoff]
    if not ideal:
        raise ValueError("a query without judgements cannot be measured")
    gains = [grades.get(chunk_id, 0) for chunk_id in ranking[:cutoff]]
    return _discounted_gain(gains) / _discounted_gain(ideal)


def compute_reciprocal_rank(ranking: Sequence[UUID], grades: Grades, cutoff: int = 10) -> float:
    """Return 1 / rank of the first relevant chunk; 0 where none is among the first `cutoff`.

    Raises:
        ValueError: nothing is relevant.
    """
    relevant = find_relevant(grades)
    ranks = (rank for rank, chunk_id in enumerate(ranking[:cutoff], 1) if chunk_id in relevant)
    first = next(ranks, None)
    return 0.0 if first is None else 1.0 / first


def compute_recall(ranking: Sequence[UUID], grades: Grades, cutoff: int) -> float:
    """Return the share of the relevant chunks that is among the first `cutoff`.

    Raises:
        ValueError: nothing is relevant.
    """
    relevant = find_relevant(grades)
    return len(relevant.intersection(ranking[:cutoff])) / len(relevant)


METRICS: Mapping[str, Callable[[Sequence[UUID], Grades], float]] = {
    NDCG: compute_ndcg,
    MRR: compute_reciprocal_rank,
    "recall@5": lambda ranking, grades: compute_recall(ranking, grades, 5),
    "recall@10": lambda ranking, grades: compute_recall(ranking, grades, 10),
    "recall@50": lambda ranking, grades: compute_recall(ranking, grades, 50),
    "recall@100": lambda ranking, grades: compute_recall(ranking, grades, 100),
}
DEEPEST_CUTOFF = 100


def _discounted_gain(gains: Sequence[int]) -> float:
    discounts = np.log2(np.arange(2, len(gains) + 2))
    return float(np.sum(np.asarray(gains, dtype=np.float64) / discounts))


def find_relevant(grades: Grades) -> frozenset[UUID]:
    """Return the chunks of at least `RELEVANT_GRADE`.

    Raises:
        ValueError: there is none.
    """
    relevant = frozenset(chunk for chunk, grade in grades.items() if grade >= RELEVANT_GRADE)
    if not relevant:
        raise ValueError("a query without a relevant chunk cannot be measured")
    return relevant
