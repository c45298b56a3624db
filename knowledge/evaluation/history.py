"""Evaluations kept in `retrieval_evaluations`, so that a change is seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import retrieval_evaluations


@dataclass(frozen=True)
class Figure:
    """One metric of one stage over one query set, with its 95 % confidence interval."""

    corpus: str
    query_set: str
    stage: str
    metric: str
    value: float
    low: float
    high: float
    query_count: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other figures of a corpus."""
        return self.query_set, self.stage, self.metric


@dataclass(frozen=True)
class Conditions:
    """What figures were measured under."""

    chunk_count: int
    embedding_model: str | None
    settings: Mapping[str, Any]
    """Of search, index and chunks, and `queries_sha256`: the fingerprint of each query set."""


@dataclass(frozen=True)
class PastFigure:
    """A figure of an earlier evaluation."""

    figure: Figure
    conditions: Conditions
    evaluation_id: UUID
    evaluated_at: datetime

    def is_of_queries(self, fingerprint: str) -> bool:
        """Return whether it was measured with the very same queries."""
        fingerprints = self.conditions.settings.get("queries_sha256", {})
        return bool(fingerprints.get(self.figure.query_set) == fingerprint)


async def keep_figures(
    connection: AsyncConnection,
    evaluation_id: UUID,
    figures: Iterable[Figure],
    conditions: Conditions,
) -> None:
    """Store an evaluation's figures, in the caller's transaction."""
    described = asdict(conditions)
    rows = [{"evaluation_id": evaluation_id, **asdict(figure), **described} for figure in figures]
    if rows:
        await connection.execute(insert(retrieval_evaluations), rows)


async def read_previous(
    connection: AsyncConnection, corpus: str, query_sets: Sequence[str]
) -> dict[tuple[str, str, str], PastFigure]:
    """Return for each of the query sets the figures of its last evaluation, by `Figure.key`."""
    table = retrieval_evaluations
    last = (
        select(table.c.query_set, table.c.evaluation_id)
        .distinct(table.c.query_set)
        .where(table.c.corpus == corpus, table.c.query_set.in_(query_sets))
        .order_by(table.c.query_set, table.c.evaluated_at.desc(), table.c.evaluation_id.desc())
    )
    statement = _select_figures(corpus).where(
        tuple_(table.c.query_set, table.c.evaluation_id).in_(last)
    )
    found = [_past_figure(row) for row in await connection.execute(statement)]
    return {past.figure.key: past for past in found}


async def read_history(
    connection: AsyncConnection, corpus: str, *, metric: str, limit: int
) -> list[PastFigure]:
    """Return the last `limit` figures of a metric, oldest first."""
    table = retrieval_evaluations
    statement = (
        _select_figures(corpus)
        .where(table.c.metric == metric)
        .order_by(table.c.evaluated_at.desc(), table.c.query_set, table.c.stage)
        .limit(limit)
    )
    found = [_past_figure(row) for row in await connection.execute(statement)]
    return found[::-1]


def _select_figures(corpus: str) -> Select[Any]:
    return select(retrieval_evaluations).where(retrieval_evaluations.c.corpus == corpus)


def _past_figure(row: Any) -> PastFigure:
    figure = Figure(
        row.corpus,
        row.query_set,
        row.stage,
        row.metric,
        row.value,
        row.low,
        row.high,
        row.query_count,
    )
    conditions = Conditions(row.chunk_count, row.embedding_model, row.settings)
    return PastFigure(figure, conditions, row.evaluation_id, row.evaluated_at)
