"""Search for the nearest vectors among the ingested documents' chunks in PostgreSQL."""

from typing import Any
from uuid import UUID

from psycopg import sql

from knowledge.ports import NO_FILTERS, FloatArray
from knowledge.query_vector import QueryVector
from knowledge.search_connections import SearchConnection, SearchConnections
from knowledge.search_filters import chunk_condition, filter_parameters
from knowledge.search_scope import SearchScope

_MOST_COMPARED_CHUNKS = 10_000
"""Up to as many chunks are all compared with the query: 10,000 take some 10 ms, no more than a
walk through the HNSW index in search of the few that pass a filter, and none is missed."""

# `vector` without dimensions fits whatever model's vectors the column holds.
_WALK_INDEX = sql.SQL(
    """
    SELECT chunk_id, embedding <=> %(vector)s::vector AS distance
    FROM document_chunks
    WHERE embedding IS NOT NULL AND {}
    ORDER BY distance
    LIMIT %(limit)s
    """
)
# Materialized, the distances are computed without the index, which may miss some.
_COMPARE_ALL = sql.SQL(
    """
    WITH compared AS MATERIALIZED (
        SELECT chunk_id, embedding <=> %(vector)s::vector AS distance
        FROM document_chunks
        WHERE embedding IS NOT NULL AND {}
    )
    SELECT chunk_id, distance
    FROM compared
    ORDER BY distance, chunk_id
    LIMIT %(limit)s
    """
)


class VectorSearch:
    """Chunks by the cosine similarity of their vectors with the query's."""

    def __init__(self, connections: SearchConnections) -> None:
        self._connections = connections

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
        is_filtered = scope.filters != NO_FILTERS
        is_exact = is_filtered and scope.matching_chunks <= _MOST_COMPARED_CHUNKS
        async with self._connections.open("vector search") as connection:
            if is_exact:
                return await _compare_all(connection, vector, limit, scope)
            scores = await _walk_index(connection, vector, limit, scope)
            if is_filtered and len(scores) < limit:
                # What passes the filter lies far from the query.
                return await _compare_all(connection, vector, limit, scope)
            return scores


async def _walk_index(
    connection: SearchConnection, vector: FloatArray, limit: int, scope: SearchScope
) -> dict[UUID, float]:
    condition = chunk_condition(scope.filters, beside_index_scan=True)
    nearest = await connection.execute(
        _WALK_INDEX.format(condition), _parameters(vector, limit, scope), binary=True
    )
    scores = {chunk_id: 1.0 - distance for chunk_id, distance in await nearest.fetchall()}
    return dict(sorted(scores.items(), key=lambda scored: -scored[1]))


async def _compare_all(
    connection: SearchConnection, vector: FloatArray, limit: int, scope: SearchScope
) -> dict[UUID, float]:
    nearest = await connection.execute(
        _COMPARE_ALL.format(chunk_condition(scope.filters)),
        _parameters(vector, limit, scope),
        binary=True,
    )
    return {chunk_id: 1.0 - distance for chunk_id, distance in await nearest.fetchall()}


def _parameters(vector: FloatArray, limit: int, scope: SearchScope) -> dict[str, Any]:
    return {
        "vector": QueryVector(vector),
        "limit": limit,
        **filter_parameters(scope.filters),
    }
