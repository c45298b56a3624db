"""Search for the nearest vectors among the ingested documents' chunks in PostgreSQL."""

from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import Vector
from sqlalchemy import ColumnElement, Select, Text, cast, literal, select

from contracts.tables import document_chunks
from knowledge.ports import FloatArray, SearchFilters
from knowledge.search_connections import SearchConnections
from knowledge.search_filters import chunk_conditions
from knowledge.search_scope import SearchScope

_MOST_COMPARED_CHUNKS = 10_000
"""Up to as many chunks are all compared with the query: 10,000 take some 10 ms, no more than a
walk through the HNSW index in search of the few that pass a filter, and none is missed."""
_MAX_SCAN_TUPLES = 40_000
"""Where a filter lets few of the nearest chunks through, the walk ends after so many."""


class VectorSearch:
    """Chunks by the cosine similarity of their vectors with the query's."""

    def __init__(self, connections: SearchConnections, *, ef_search: int) -> None:
        """
        Args:
            ef_search: breadth of the walk through the HNSW index, pgvector's `hnsw.ef_search`.
        """
        self._connections = connections
        # Without an iterative scan a filter would leave fewer chunks than are wanted. The relaxed
        # order is put right below, and misses fewer chunks than the strict one, which passes over
        # what it finds late. https://github.com/pgvector/pgvector#iterative-index-scans
        self._settings = {
            "hnsw.ef_search": str(ef_search),
            "hnsw.iterative_scan": "relaxed_order",
            "hnsw.max_scan_tuples": str(_MAX_SCAN_TUPLES),
        }

    async def rank(
        self, vector: FloatArray, *, limit: int, scope: SearchScope
    ) -> dict[UUID, float]:
        """Return at most `limit` chunks' IDs with their cosine similarities, best first.

        Args:
            vector: shape (dimensions,), L2-normalised.

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, took longer
                than the limit, or holds vectors of another size.
        """
        if limit < 1:
            return {}
        filters = scope.filters
        is_filtered = filters != SearchFilters()
        is_exact = is_filtered and scope.matching_chunks <= _MOST_COMPARED_CHUNKS
        async with self._connections.open("vector search", self._settings) as connection:
            statement = _compare_all if is_exact else _walk_index
            rows = (await connection.execute(statement(vector, limit, filters))).all()
            if is_filtered and not is_exact and len(rows) < limit:
                # What passes the filter lies far from the query.
                rows = (await connection.execute(_compare_all(vector, limit, filters))).all()
        scores = {row.chunk_id: 1.0 - float(row.distance) for row in rows}
        return dict(sorted(scores.items(), key=lambda scored: -scored[1]))


def format_vector(vector: FloatArray) -> str:
    """Return `vector` as pgvector reads it.

    As text: 0.1 ms for 256 values, which the type's registration with each connection, that the
    binary form needs, would not win back.
    """
    return str(vector.tolist())


def _cosine_distance(vector: FloatArray) -> ColumnElement[float]:
    # The type has no dimensions, so that it fits whatever model's vectors the column holds.
    query = cast(literal(format_vector(vector), Text), Vector())
    distance: ColumnElement[float] = document_chunks.c.embedding.cosine_distance(query)
    return distance


def _walk_index(vector: FloatArray, limit: int, filters: SearchFilters) -> Select[Any]:
    distance = _cosine_distance(vector).label("distance")
    return (
        select(document_chunks.c.chunk_id, distance)
        .where(*chunk_conditions(filters, beside_index_scan=True))
        .order_by(distance)
        .limit(limit)
    )


def _compare_all(vector: FloatArray, limit: int, filters: SearchFilters) -> Select[Any]:
    compared = (
        select(document_chunks.c.chunk_id, _cosine_distance(vector).label("distance"))
        .where(document_chunks.c.embedding.is_not(None))
        .where(*chunk_conditions(filters))
        .cte("compared")
        .prefix_with("MATERIALIZED")
    )
    return select(compared).order_by(compared.c.distance, compared.c.chunk_id).limit(limit)
