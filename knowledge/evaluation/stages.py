"""The stages of retrieval run over the queries, and compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from contracts.settings import RetrievalSettings
from knowledge.evaluation.confidence import Estimate, compare_means, estimate_mean
from knowledge.evaluation.metrics import DEEPEST_CUTOFF, METRICS, NDCG
from knowledge.evaluation.query_sets import QuerySet
from knowledge.hybrid_search import HybridIndex, RetrievalStage
from knowledge.ports import SearchFilters, SearchUnavailable

STAGES: tuple[RetrievalStage, ...] = ("text", "vector", "hybrid", "hybrid+rerank")

COMPARISONS: tuple[tuple[RetrievalStage, RetrievalStage], ...] = (
    ("hybrid", "text"),
    ("hybrid", "vector"),
    ("hybrid+rerank", "hybrid"),
    ("hybrid+rerank", "vector"),
)
"""A stage, and what it should do better than."""

PATIENT = {"timeout_seconds": 60.0}
"""A search under evaluation is not cut off: what is measured is its order, not its speed."""


class StageRanker(Protocol):
    """Ranks chunks as far as a stage goes."""

    async def rank(self, query: str, stage: RetrievalStage, depth: int) -> Sequence[UUID]:
        """Return the IDs of at least `depth` chunks where so many are found, best first."""
        ...


class DegradedSearch(Exception):
    """A part of a stage failed, so that its ranking is not the stage's."""


class HybridIndexRanker:
    """A `StageRanker` of the search itself, over one collection."""

    def __init__(self, index: HybridIndex, collection: str) -> None:
        self._index = index
        self._filters = SearchFilters(collections=(collection,))

    async def rank(self, query: str, stage: RetrievalStage, depth: int) -> Sequence[UUID]:
        """Rank by the search's own code.

        Raises:
            DegradedSearch: the search went on without a part, or could not be done.
        """
        try:
            result = await self._index.search_stage(
                query, stage=stage, top_k=depth, filters=self._filters
            )
        except SearchUnavailable as error:
            raise DegradedSearch(f"{stage}: {error}") from error
        if result.error is not None:
            raise DegradedSearch(f"{stage}: {result.error}")
        return [UUID(candidate.chunk_id) for candidate in result.candidates]


def patient_settings(settings: RetrievalSettings) -> RetrievalSettings:
    """Return `settings` for a search that is not cut off by a time."""
    return settings.model_copy(update=PATIENT)


@dataclass(frozen=True)
class StageComparison:
    """By how much a stage's nDCG@10 exceeds another's, over the same queries."""

    stage: RetrievalStage
    other: RetrievalStage
    difference: Estimate

    @property
    def verdict(self) -> str:
        """Whether it is better, worse, or neither beyond chance."""
        if self.difference.is_positive:
            return "better"
        return "worse" if self.difference.is_negative else "no clear difference"

    def __str__(self) -> str:
        difference = self.difference
        return (
            f"{self.stage} against {self.other}: nDCG@10 {difference.value:+.3f}"
            f" [{difference.low:+.3f}, {difference.high:+.3f}], {self.verdict}"
        )


@dataclass(frozen=True)
class QuerySetResult:
    """What the stages made of one query set."""

    query_set: QuerySet
    values: Mapping[RetrievalStage, Mapping[str, Sequence[float]]]
    """For each stage and metric a value of each query, in the set's order."""

    def estimate(self, stage: RetrievalStage, metric: str) -> Estimate:
        """Return the mean over the queries."""
        return estimate_mean(self.values[stage][metric])

    def compare(
        self, stage: RetrievalStage, other: RetrievalStage, metric: str = NDCG
    ) -> StageComparison:
        """Return by how much `stage` does better than `other`."""
        difference = compare_means(self.values[stage][metric], self.values[other][metric])
        return StageComparison(stage, other, difference)

    @property
    def comparisons(self) -> list[StageComparison]:
        """Those of `COMPARISONS` whose stages were run."""
        return [
            self.compare(stage, other)
            for stage, other in COMPARISONS
            if stage in self.values and other in self.values
        ]


async def evaluate_stages(
    ranker: StageRanker,
    query_set: QuerySet,
    stages: Sequence[RetrievalStage] = STAGES,
    *,
    on_query: Callable[[], None] = lambda: None,
) -> QuerySetResult:
    """Run each stage over each query.

    Args:
        on_query: called when all stages of a query are done.

    Raises:
        DegradedSearch: a ranking is not that of its stage.
        ValueError: the set has no queries.
    """
    if not query_set.queries:
        raise ValueError(f"the query set {query_set.name!r} is empty")
    values: dict[RetrievalStage, dict[str, list[float]]] = {
        stage: {metric: [] for metric in METRICS} for stage in stages
    }
    for query in query_set.queries:
        for stage in stages:
            # As much deeper as chunks are struck out.
            depth = DEEPEST_CUTOFF + len(query.excluded)
            found = await ranker.rank(query.text, stage, depth)
            ranking = [chunk_id for chunk_id in found if chunk_id not in query.excluded]
            for metric, compute in METRICS.items():
                values[stage][metric].append(compute(ranking, query.grades))
        on_query()
    return QuerySetResult(query_set, values)
