"""A whole evaluation of a collection: query sets made, stages run, figures kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.event_ids import new_event_id
from contracts.settings import RetrievalSettings
from contracts.tables import document_chunks
from knowledge.engine_connections import EngineConnections
from knowledge.evaluation.corpus import Corpus, read_corpus
from knowledge.evaluation.history import Conditions, Figure, PastFigure, keep_figures, read_previous
from knowledge.evaluation.judged import read_judged_queries, resolve_judgements
from knowledge.evaluation.known_items import DEFAULT_LIMIT, ITEM_KINDS, ItemKind, make_known_items
from knowledge.evaluation.metrics import METRICS
from knowledge.evaluation.query_sets import QuerySet
from knowledge.evaluation.stages import (
    STAGES,
    HybridIndexRanker,
    QuerySetResult,
    evaluate_stages,
    patient_settings,
)
from knowledge.hybrid_search import HybridIndex, RetrievalStage
from knowledge.ports import Encoder, EncoderModel

_ENCODER_TIMEOUT_SECONDS = 60.0


class NothingToEvaluate(Exception):
    """The collection has no chunks, or there is no query about it."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be evaluated."""

    collection: str = "default"
    judged_files: tuple[Path, ...] = ()
    kinds: tuple[ItemKind, ...] = ITEM_KINDS
    """Of known items."""
    limit: int = DEFAULT_LIMIT
    """Known items of each kind, at most."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

    evaluation_id: UUID
    evaluated_at: datetime
    corpus: str
    conditions: Conditions
    model: EncoderModel | None
    results: Sequence[QuerySetResult]
    unresolved: Sequence[str]
    """Judgements that mean no chunk of the corpus, a line each."""
    previous: dict[tuple[str, str, str], PastFigure]
    """Figures of the last evaluation of each query set, by `Figure.key`."""

    @property
    def figures(self) -> list[Figure]:
        """All metrics of all stages over all query sets."""
        figures = []
        for result in self.results:
            for stage in result.values:
                for metric in METRICS:
                    estimate = result.estimate(stage, metric)
                    figures.append(
                        Figure(
                            corpus=self.corpus,
                            query_set=result.query_set.name,
                            stage=stage,
                            metric=metric,
                            value=estimate.value,
                            low=estimate.low,
                            high=estimate.high,
                            query_count=len(result.query_set.queries),
                        )
                    )
        return figures

    def change(self, figure: Figure) -> float | None:
        """Return by how much `figure` exceeds the last one over the very same queries."""
        past = self.previous.get(figure.key)
        fingerprint = self.conditions.settings["queries_sha256"][figure.query_set]
        if past is None or not past.is_of_queries(fingerprint):
            return None
        return figure.value - past.figure.value


async def evaluate(
    engine: AsyncEngine,
    encoder: Encoder | None,
    settings: RetrievalSettings,
    request: EvaluationRequest,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate the stages of retrieval over a collection, and keep the figures.

    Without an encoder, or without stored vectors, full text alone is evaluated.

    Args:
        on_progress: called with the queries that are done and those there are.

    Raises:
        NothingToEvaluate: no chunks, or no queries.
        UnreadableJudgements: a judged file is missing or wrong.
        DegradedSearch: a stage could not be run as it should be.
        EncoderUnavailable: the encoder does not answer.
    """
    model = None if encoder is None else await encoder.describe()
    async with engine.connect() as connection:
        corpus = await read_corpus(connection, request.collection)
        if not len(corpus):
            raise NothingToEvaluate(f"the collection {request.collection!r} has no chunks")
        described = await _describe_storage(connection, request.collection)
    made = _make_query_sets(corpus, request)
    query_sets = [query_set for query_set in made if query_set.queries]
    if not query_sets:
        raise NothingToEvaluate(f"there is no query about the collection {request.collection!r}")

    index = HybridIndex(
        EngineConnections(engine),
        encoder,
        patient_settings(settings),
        encoder_timeout_seconds=_ENCODER_TIMEOUT_SECONDS,
    )
    ranker = HybridIndexRanker(index, request.collection)
    stages = _choose_stages(model if described["chunks_with_vectors"] else None)
    total = sum(len(query_set.queries) for query_set in query_sets)
    done = 0

    def count_query() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    results = [
        await evaluate_stages(ranker, query_set, stages, on_query=count_query)
        for query_set in query_sets
    ]
    conditions = Conditions(
        chunk_count=len(corpus),
        embedding_model=model.name if model else None,
        settings={
            "candidates": settings.candidates,
            "rerank_depth": settings.rerank_depth,
            "hnsw_ef_search": settings.hnsw_ef_search,
            **described,
            "queries_sha256": {each.name: each.fingerprint for each in query_sets},
        },
    )
    event_id, evaluated_at = new_event_id()
    evaluation_id = UUID(event_id)
    async with engine.begin() as connection:
        previous = await read_previous(
            connection, request.collection, [query_set.name for query_set in query_sets]
        )
        evaluation = Evaluation(
            evaluation_id=evaluation_id,
            evaluated_at=evaluated_at,
            corpus=corpus.name,
            conditions=conditions,
            model=model,
            results=results,
            unresolved=[each for query_set in made for each in query_set.unresolved],
            previous=previous,
        )
        await keep_figures(connection, evaluation_id, evaluation.figures, conditions)
    return evaluation


def _make_query_sets(corpus: Corpus, request: EvaluationRequest) -> list[QuerySet]:
    return [
        *(
            resolve_judgements(f"judged:{file.stem}", read_judged_queries(file), corpus)
            for file in dict.fromkeys(request.judged_files)
        ),
        *(make_known_items(corpus, kind, limit=request.limit) for kind in request.kinds),
    ]


def _choose_stages(model: EncoderModel | None) -> tuple[RetrievalStage, ...]:
    if model is None:
        return ("text",)
    return STAGES if model.token_dimensions is not None else STAGES[:-1]


async def _describe_storage(connection: AsyncConnection, collection: str) -> dict[str, Any]:
    """Return the sizes of the chunks, and the definitions of the indexes that a search uses."""
    tokens = document_chunks.c.token_estimate
    sizes = (
        await connection.execute(
            select(
                func.max(tokens), func.avg(tokens), func.count(document_chunks.c.embedding)
            ).where(document_chunks.c.collection == collection)
        )
    ).one()
    indexes = await connection.execute(
        text(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename = :table AND indexdef ~ 'USING (hnsw|gin)'"
        ),
        {"table": document_chunks.name},
    )
    return {
        "chunks_with_vectors": sizes[2],
        "chunk_tokens": {"largest": sizes[0], "mean": round(float(sizes[1]), 1)},
        "indexes": {row.indexname: row.indexdef.partition(" USING ")[2] for row in indexes},
    }
