"""Documents and chunks written to PostgreSQL."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.tables import document_chunks, documents
from knowledge.chunking import Chunk
from knowledge.documents import Document
from knowledge.text_cleaning import clean_line, clean_text, escape_surrogates

# Changing this gives every document and chunk a new ID.
_NAMESPACE = UUID("7b1f9a52-3f0e-5c0e-9a53-6f2f8f7d1c11")

Outcome = Literal["added", "replaced", "unchanged"]


@dataclass(frozen=True)
class IngestResult:
    """What storing one document came to."""

    document_id: UUID
    source: str
    outcome: Outcome
    chunk_count: int


def store_document(
    connection: Connection, document: Document, chunks: Sequence[Chunk], *, collection: str
) -> IngestResult:
    """Make `chunks` the chunks of `document` in `collection`, in the caller's transaction.

    Nothing is written where the stored document has the same bytes and the same chunks. Otherwise
    only the chunks that differ are deleted and inserted: one that stayed the same keeps its row
    and with it its embedding. IDs follow from collection, source, position and content alone.
    """
    document_id = make_document_id(collection, document.source)
    title = clean_line(document.title)
    rows = [_chunk_row(document_id, title, chunk, collection) for chunk in chunks]
    stored = connection.execute(
        select(documents.c.content_sha256, documents.c.title).where(
            documents.c.document_id == document_id
        )
    ).one_or_none()
    is_same_file = stored is not None and (
        (stored.content_sha256, stored.title) == (document.content_sha256, title)
    )
    if is_same_file and _stored_chunk_ids(connection, document_id) == {
        row["chunk_id"] for row in rows
    }:
        return IngestResult(document_id, document.source, "unchanged", len(rows))

    # The upsert locks the document's row, so that two writers of it take turns.
    _upsert_document(connection, document_id, document, title, collection, len(rows))
    has_new_title = stored is not None and stored.title != title
    _replace_chunks(connection, document_id, rows, keep_same=not has_new_title)
    outcome: Outcome = "added" if stored is None else "replaced"
    return IngestResult(document_id, document.source, outcome, len(rows))


def remove_documents(connection: Connection, *, collection: str, sources: Sequence[str]) -> int:
    """Delete the documents of `sources` with their chunks; return how many there were."""
    document_ids = [make_document_id(collection, source) for source in sources]
    result = connection.execute(
        delete(documents).where(documents.c.document_id == func.any(document_ids))
    )
    return result.rowcount


def refresh_statistics(connection: Connection) -> None:
    """Have PostgreSQL count anew which words are common among the chunks.

    The search weighs words by it. PostgreSQL does this by itself a minute or so after many rows
    have changed; call it after an ingest so that the very next question is answered well.
    """
    connection.execute(text(f"ANALYZE {document_chunks.name}"))


def make_document_id(collection: str, source: str) -> UUID:
    """Return the ID of the document from `source` in `collection`."""
    return uuid5(_NAMESPACE, f"{escape_surrogates(collection)}\n{escape_surrogates(source)}")


def _chunk_row(document_id: UUID, title: str, chunk: Chunk, collection: str) -> dict[str, Any]:
    heading_path = [clean_text(heading) for heading in chunk.heading_path]
    content = clean_text(chunk.content)
    digest = hashlib.sha256("\x1f".join((*heading_path, content)).encode()).hexdigest()
    return {
        "chunk_id": uuid5(document_id, f"{chunk.position}\n{digest}"),
        "document_id": document_id,
        "collection": escape_surrogates(collection),
        "position": chunk.position,
        "heading_path": heading_path,
        # The title is searched as the outermost heading of every chunk.
        "headings": "\n".join((title, *heading_path)),
        "content": content,
        "token_estimate": chunk.token_estimate,
    }


def _stored_chunk_ids(connection: Connection, document_id: UUID) -> set[UUID]:
    chunk_ids = select(document_chunks.c.chunk_id).where(
        document_chunks.c.document_id == document_id
    )
    return set(connection.scalars(chunk_ids))


def _upsert_document(
    connection: Connection,
    document_id: UUID,
    document: Document,
    title: str,
    collection: str,
    chunk_count: int,
) -> None:
    changing = {
        "title": title,
        "media_type": document.media_type,
        "content_sha256": document.content_sha256,
        "chunk_count": chunk_count,
    }
    statement = upsert(documents).values(
        document_id=document_id,
        collection=escape_surrogates(collection),
        source=escape_surrogates(document.source),
        **changing,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[documents.c.document_id],
            set_={**changing, "ingested_at": func.now()},
        )
    )


def _replace_chunks(
    connection: Connection, document_id: UUID, rows: Sequence[dict[str, Any]], *, keep_same: bool
) -> None:
    stored_ids = _stored_chunk_ids(connection, document_id)
    kept_ids = stored_ids & {row["chunk_id"] for row in rows} if keep_same else set()
    obsolete_ids = list(stored_ids - kept_ids)
    if obsolete_ids:
        connection.execute(
            delete(document_chunks).where(document_chunks.c.chunk_id == func.any(obsolete_ids))
        )
    new_rows = [row for row in rows if row["chunk_id"] not in kept_ids]
    if new_rows:
        connection.execute(insert(document_chunks), new_rows)
