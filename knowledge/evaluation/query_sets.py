"""Queries with what they should find."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

_SEED = 1998

KNOWN_ITEM_GRADE = 3
"""Of the chunks that a query was made for."""


@dataclass(frozen=True)
class EvaluationQuery:
    """A query and the chunks that answer it."""

    text: str
    grades: Mapping[UUID, int]
    """As `knowledge.evaluation.metrics.Grades`."""
    excluded: frozenset[UUID] = frozenset()
    """Chunks that are struck from a ranking: those the query itself was taken from."""
    judgements: str = ""
    """What was judged, in terms that do not change with the chunks; empty for known items."""


@dataclass(frozen=True)
class QuerySet:
    """Queries of one kind about one corpus."""

    name: str
    queries: Sequence[EvaluationQuery]
    unresolved: Sequence[str] = field(default=())
    """What could not be found in the corpus, a line each."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of queries and judgements: figures of other ones are not comparable."""
        texts = sorted(f"{query.text}\x1f{query.judgements}" for query in self.queries)
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def sample_queries(queries: Iterable[EvaluationQuery], limit: int) -> list[EvaluationQuery]:
    """Return at most `limit` of `queries`; of the same queries always the same ones."""
    by_text = sorted(queries, key=lambda query: query.text)
    if len(by_text) <= limit:
        return by_text
    chosen = np.random.default_rng(_SEED).choice(len(by_text), size=limit, replace=False)
    return [by_text[index] for index in sorted(chosen)]
