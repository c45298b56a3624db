"""The chunks that a search ranked, read from PostgreSQL."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection as DriverConnection
from psycopg.sql import SQL, Identifier
from sqlalchemy import ARRAY, Uuid, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import document_chunks, documents
from knowledge.ports import FloatArray
from knowledge.vector_search import format_vector

_SELECT_VECTORS = SQL(
    "SELECT chunk_id, 1 - (embedding <=> %(vector)s::vector) AS vector_score,"
    " CASE WHEN chunk_id = ANY(%(with_tokens)s) THEN token_vectors END AS token_vectors"
    " FROM {} WHERE chunk_id = ANY(%(chunk_ids)s)"
).format(Identifier(document_chunks.name))


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
    connection: AsyncConnection,
    chunk_ids: Collection[UUID],
    vector: FloatArray,
    *,
    with_tokens: Collection[UUID],
) -> Mapping[UUID, ComparedChunk]:
    """Compare those of `chunk_ids` that are still there with the vector of the query.

    Args:
        with_tokens: those of them whose token vectors are read too, some ten kilobytes each.
    """
    # Through the driver itself, since only so the results can be had in binary: the text form of
    # bytes is twice as long, and takes twice the time to receive.
    raw = await connection.get_raw_connection()
    driver: DriverConnection[Any] | None = raw.driver_connection
    if driver is None:
        raise TypeError("the connection was taken away from its pool")
    parameters = {
        "vector": format_vector(vector),
        "with_tokens": list(with_tokens),
        "chunk_ids": list(chunk_ids),
    }
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(_SELECT_VECTORS, parameters)
        return {
            chunk_id: ComparedChunk(vector_score, token_vectors)
            for chunk_id, vector_score, token_vectors in await cursor.fetchall()
        }


async def read_contents(
    connection: AsyncConnection, chunk_ids: Collection[UUID]
) -> Mapping[UUID, ChunkContent]:
    """Return the contents of those of `chunk_ids` that are still there."""
    rows = await connection.execute(
        select(
            document_chunks.c.chunk_id,
            document_chunks.c.content,
            document_chunks.c.heading_path,
            document_chunks.c.collection,
            documents.c.title,
            documents.c.source,
        )
        .join(documents, documents.c.document_id == document_chunks.c.document_id)
        .where(document_chunks.c.chunk_id == any_(cast(list(chunk_ids), ARRAY(Uuid))))
    )
    return {
        row.chunk_id: ChunkContent(
            content=row.content,
            heading_path=tuple(row.heading_path),
            title=row.title,
            source=row.source,
            collection=row.collection,
        )
        for row in rows
    }
