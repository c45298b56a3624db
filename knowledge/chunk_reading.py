"""The chunks that a search ranked, read from PostgreSQL."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from knowledge.ports import FloatArray
from knowledge.query_vector import QueryVector
from knowledge.search_connections import SearchConnection

_COMPARE = """
SELECT
    chunk_id,
    1 - (embedding <=> %(vector)s::vector) AS vector_score,
    CASE WHEN chunk_id = ANY(%(with_tokens)s) THEN token_vectors END AS token_vectors
FROM document_chunks
WHERE chunk_id = ANY(%(chunk_ids)s)
"""
_READ_CONTENTS = """
SELECT
    document_chunks.chunk_id,
    document_chunks.content,
    document_chunks.heading_path,
    documents.title,
    documents.source,
    document_chunks.collection
FROM document_chunks
JOIN documents USING (document_id)
WHERE document_chunks.chunk_id = ANY(%(chunk_ids)s)
"""


@dataclass(frozen=True)
class ComparedChunk:
    """What the vectors of a chunk tell."""

    vector_score: float | None
    """Cosine similarity with the query; None for a chunk without a vector."""
    token_vectors: bytes | None
    """As `pack_token_vectors` makes them; None where not asked for or not there."""


@dataclass(frozen=True)
class ChunkContent:
    """What is shown of a chunk."""

    content: str
    heading_path: tuple[str, ...]
    title: str
    source: str
    collection: str


async def compare_chunks(
    connection: SearchConnection,
    chunk_ids: Collection[UUID],
    vector: FloatArray,
    *,
    with_tokens: Collection[UUID],
) -> Mapping[UUID, ComparedChunk]:
    """Compare those of `chunk_ids` that are still there with the vector of the query.

    Args:
        with_tokens: those of them whose token vectors are read too, some ten kilobytes each.
    """
    parameters = {
        "vector": QueryVector(vector),
        "with_tokens": list(with_tokens),
        "chunk_ids": list(chunk_ids),
    }
    # The text form of bytes would be twice as long, and take twice the time to receive.
    rows = await connection.execute(_COMPARE, parameters, binary=True)
    return {
        chunk_id: ComparedChunk(vector_score, token_vectors)
        for chunk_id, vector_score, token_vectors in await rows.fetchall()
    }


async def read_contents(
    connection: SearchConnection, chunk_ids: Collection[UUID]
) -> Mapping[UUID, ChunkContent]:
    """Return the contents of those of `chunk_ids` that are still there."""
    rows = await connection.execute(_READ_CONTENTS, {"chunk_ids": list(chunk_ids)})
    return {
        chunk_id: ChunkContent(content, tuple(heading_path), title, source, collection)
        for chunk_id, content, heading_path, title, source, collection in await rows.fetchall()
    }
