"""The chunks that a search ranked, read from PostgreSQL."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, LargeBinary, Uuid, any_, case, cast, null, select
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import document_chunks, documents
from knowledge.ports import FloatArray
from knowledge.vector_search import cosine_distance


@dataclass(frozen=True)
class StoredChunk:
    """A chunk with what a search needs of it."""

    content: str
    heading_path: tuple[str, ...]
    title: str
    source: str
    collection: str
    vector_score: float | None
    """Cosine similarity with the query; None where query or chunk has no vector."""
    token_vectors: bytes | None
    """As `pack_token_vectors` makes them; None where not asked for or not there."""


async def read_chunks(
    connection: AsyncConnection,
    chunk_ids: Sequence[UUID],
    *,
    vector: FloatArray | None,
    with_tokens: Collection[UUID] = (),
) -> dict[UUID, StoredChunk]:
    """Return the chunks of `chunk_ids` that are still there.

    Args:
        vector: of the query; None where there is none.
        with_tokens: those of the chunks whose token vectors are wanted: they are some kilobytes.
    """
    token_vectors = case(
        (_is_one_of(with_tokens), document_chunks.c.token_vectors),
        else_=cast(null(), LargeBinary),
    )
    distance = null() if vector is None else cosine_distance(vector)
    rows = await connection.execute(
        select(
            document_chunks.c.chunk_id,
            document_chunks.c.content,
            document_chunks.c.heading_path,
            document_chunks.c.collection,
            documents.c.title,
            documents.c.source,
            distance.label("distance"),
            token_vectors.label("token_vectors"),
        )
        .join(documents, documents.c.document_id == document_chunks.c.document_id)
        .where(_is_one_of(chunk_ids))
    )
    return {
        row.chunk_id: StoredChunk(
            content=row.content,
            heading_path=tuple(row.heading_path),
            title=row.title,
            source=row.source,
            collection=row.collection,
            vector_score=None if row.distance is None else 1.0 - float(row.distance),
            token_vectors=row.token_vectors,
        )
        for row in rows
    }


def _is_one_of(chunk_ids: Collection[UUID]) -> ColumnElement[bool]:
    return document_chunks.c.chunk_id == any_(cast(list(chunk_ids), ARRAY(Uuid)))
