"""Documents and chunks written to PostgreSQL."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid5

from sqlalchemy import Connection, delete, func, or_, select, text, true, update
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.tables import chunk_reembeddings, document_chunks, documents
from knowledge.bulk_copy import copy_rows
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import Chunk
from knowledge.document_ids import make_document_id
from knowledge.documents import Document
from knowledge.embedded_text import stored_text_to_embed
from knowledge.embedding_models import require_still_active
from knowledge.text_cleaning import clean_line, clean_text, escape_surrogates

# Changing this gives every document and chunk a new ID.

Outcome = Literal["added", "replaced", "unchanged"]


@dataclass(frozen=True)
class IngestResult:
    """What storing one document came to."""

    document_id: UUID
    source: str
    outcome: Outcome
    chunk_count: int
    new_chunk_count: int = 0
    """Chunks that were written; the others kept their rows."""
    warning: str | None = None
    """What of the file could not be read."""


@dataclass(frozen=True)
class StoredDocument:
    """What is stored of a document."""

    document_id: UUID
    source: str
    chunk_count: int
    ingest_fingerprint: bytes | None
    is_complete: bool
    """Whether all its chunks are there, with the vectors that are asked for."""


def store_document(
    connection: Connection,
    document: Document,
    chunks: Sequence[Chunk],
    *,
    collection: str,
    encoder: ChunkEncoder | None = None,
    attributes: Mapping[str, Any] | None = None,
    fingerprint: bytes | None = None,
) -> IngestResult:
    """Make `chunks` the chunks of `document` in `collection`, in the caller's transaction.

    Nothing is written where the stored document has the same bytes and the same chunks. Otherwise
    only the chunks that differ, or lack their vectors, are encoded, deleted and inserted: one that
    stayed the same keeps its row and with it its vectors. IDs follow from collection, source,
    position and content alone.

    Args:
        encoder: without it, new chunks have no vectors, and old ones keep theirs.
        attributes: besides those of the file, and above them.
        fingerprint: of the file and all that its chunks follow from (`ingest_fingerprint`).

    Raises:
        EmbeddingModelMismatch: another model was promoted meanwhile.
        EncoderUnavailable, ValueError: as `ChunkEncoder.encode`.
    """
    document_id = make_document_id(collection, document.source)
    rows = chunk_rows(document, chunks, collection=collection)
    described: dict[str, Any] = {
        "title": clean_line(document.title),
        "media_type": document.media_type,
        "content_sha256": document.content_sha256,
        "chunk_count": len(rows),
        "attributes": {**document.attributes, **(attributes or {})},
    }
    stored = connection.execute(
        select(documents.c.ingest_fingerprint, *(documents.c[name] for name in described)).where(
            documents.c.document_id == document_id
        )
    ).one_or_none()
    is_described = stored is not None and (
        dict(stored._mapping) == {**described, "ingest_fingerprint": stored.ingest_fingerprint}
    )
    wanted_ids = {row["chunk_id"] for row in rows}
    if is_described and _complete_chunk_ids(connection, document_id, encoder) == wanted_ids:
        if stored is not None and stored.ingest_fingerprint != fingerprint:
            _set_fingerprint(connection, document_id, fingerprint)
        return IngestResult(
            document_id, document.source, "unchanged", len(rows), warning=document.warning
        )

    # The upsert locks the document's row, so that two writers of it take turns.
    described["ingest_fingerprint"] = fingerprint
    _upsert_document(connection, document_id, document.source, collection, described)
    has_new_title = stored is not None and stored.title != described["title"]
    new_count = _replace_chunks(connection, document_id, rows, encoder, keep_same=not has_new_title)
    outcome: Outcome = "added" if stored is None else "replaced"
    return IngestResult(
        document_id, document.source, outcome, len(rows), new_count, document.warning
    )


def find_stored(
    connection: Connection,
    sources: Iterable[str],
    *,
    collection: str,
    encoder: ChunkEncoder | None = None,
) -> dict[str, StoredDocument]:
    """Return the documents of `sources` that are stored, by source."""
    source_of_id = {make_document_id(collection, source): source for source in sources}
    chunks = (
        select(func.count(document_chunks.c.chunk_id).filter(_is_complete(encoder)))
        .where(document_chunks.c.document_id == documents.c.document_id)
        .scalar_subquery()
    )
    found = connection.execute(
        select(
            documents.c.document_id,
            documents.c.chunk_count,
            documents.c.ingest_fingerprint,
            (chunks == documents.c.chunk_count).label("is_complete"),
        ).where(documents.c.document_id == func.any(list(source_of_id)))
    )
    return {
        source_of_id[row.document_id]: StoredDocument(
            row.document_id,
            source_of_id[row.document_id],
            row.chunk_count,
            row.ingest_fingerprint,
            row.is_complete,
        )
        for row in found
    }


def find_new_texts(
    connection: Connection,
    document_rows: Sequence[tuple[UUID, Sequence[Mapping[str, Any]]]],
    encoder: ChunkEncoder,
) -> list[str]:
    """Return the texts that storing these documents' rows would have encoded.

    Args:
        document_rows: document ID and the rows of `chunk_rows`, for each document.
    """
    ids = [document_id for document_id, _ in document_rows]
    complete = set(
        connection.scalars(
            select(document_chunks.c.chunk_id).where(
                document_chunks.c.document_id == func.any(ids), _is_complete(encoder)
            )
        )
    )
    return [
        stored_text_to_embed(row["headings"], row["content"])
        for _, rows in document_rows
        for row in rows
        if row["chunk_id"] not in complete
    ]


def remove_documents(connection: Connection, *, collection: str, sources: Sequence[str]) -> int:
    """Delete the documents of `sources` with their chunks; return how many there were."""
    document_ids = [make_document_id(collection, source) for source in sources]
    # Documents before chunks, as in `store_document`, or each could wait for the other.
    connection.execute(
        select(documents.c.document_id)
        .where(documents.c.document_id == func.any(document_ids))
        .order_by(documents.c.document_id)
        .with_for_update()
    )
    belongs = document_chunks.c.document_id == func.any(document_ids)
    chunk_ids = connection.scalars(
        delete(document_chunks).where(belongs).returning(document_chunks.c.chunk_id)
    ).all()
    result = connection.execute(
        delete(documents).where(documents.c.document_id == func.any(document_ids))
    )
    _discard_reembeddings(connection, chunk_ids)
    return result.rowcount


def find_sources_under(
    connection: Connection, paths: Sequence[str], *, collection: str
) -> list[str]:
    """Return the sources of `collection` that are one of `paths`, or lie under it as a folder."""
    if not paths:
        return []
    names = [escape_surrogates(path) for path in paths]
    folders = [name.rstrip("/") + "/" for name in names]
    source = documents.c.source
    statement = select(source).where(
        documents.c.collection == escape_surrogates(collection),
        or_(
            source == func.any(names),
            *(func.starts_with(source, folder) for folder in folders),
        ),
    )
    return list(connection.scalars(statement.order_by(source)))


def refresh_statistics(connection: Connection) -> None:
    """Have PostgreSQL count anew which words are common among the chunks.

    The search weighs words by it. PostgreSQL does this by itself a minute or so after many rows
    have changed; call it after an ingest so that the very next question is answered well.
    """
    connection.execute(text(f"ANALYZE {document_chunks.name}"))


def chunk_rows(
    document: Document, chunks: Sequence[Chunk], *, collection: str
) -> list[dict[str, Any]]:
    """Return the chunks' rows of `document_chunks`, without their vectors."""
    document_id = make_document_id(collection, document.source)
    title = clean_line(document.title)
    return [_chunk_row(document_id, title, chunk, collection) for chunk in chunks]


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


def _is_complete(encoder: ChunkEncoder | None) -> Any:
    """Condition of a chunk that has the vectors that are asked for."""
    if encoder is None:
        return true()
    condition = document_chunks.c.embedding_model == encoder.model.name
    if encoder.with_tokens:
        condition &= document_chunks.c.token_vectors.is_not(None)
    return condition


def _complete_chunk_ids(
    connection: Connection, document_id: UUID, encoder: ChunkEncoder | None
) -> set[UUID]:
    return {
        row.chunk_id for row in _stored_chunks(connection, document_id, encoder) if row.is_complete
    }


def _stored_chunks(
    connection: Connection, document_id: UUID, encoder: ChunkEncoder | None
) -> Sequence[Any]:
    statement = select(
        document_chunks.c.chunk_id, func.coalesce(_is_complete(encoder), False).label("is_complete")
    ).where(document_chunks.c.document_id == document_id)
    return connection.execute(statement).all()


def _set_fingerprint(connection: Connection, document_id: UUID, fingerprint: bytes | None) -> None:
    connection.execute(
        update(documents)
        .where(documents.c.document_id == document_id)
        .values(ingest_fingerprint=fingerprint)
    )


def _upsert_document(
    connection: Connection,
    document_id: UUID,
    source: str,
    collection: str,
    described: Mapping[str, Any],
) -> None:
    statement = upsert(documents).values(
        document_id=document_id,
        collection=escape_surrogates(collection),
        source=escape_surrogates(source),
        **described,
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[documents.c.document_id],
            set_={**described, "ingested_at": func.now()},
        )
    )


def _replace_chunks(
    connection: Connection,
    document_id: UUID,
    rows: Sequence[dict[str, Any]],
    encoder: ChunkEncoder | None,
    *,
    keep_same: bool,
) -> int:
    """Delete what is obsolete, insert what is new; return how many chunks were inserted."""
    stored = _stored_chunks(connection, document_id, encoder)
    complete_ids = {row.chunk_id for row in stored if row.is_complete}
    kept_ids = complete_ids & {row["chunk_id"] for row in rows} if keep_same else set()
    obsolete_ids = [row.chunk_id for row in stored if row.chunk_id not in kept_ids]
    if obsolete_ids:
        connection.execute(
            delete(document_chunks).where(document_chunks.c.chunk_id == func.any(obsolete_ids))
        )
        _discard_reembeddings(connection, obsolete_ids)
    new_rows = [row for row in rows if row["chunk_id"] not in kept_ids]
    if new_rows:
        _insert_chunks(connection, new_rows, encoder)
    return len(new_rows)


def _insert_chunks(
    connection: Connection, rows: Sequence[dict[str, Any]], encoder: ChunkEncoder | None
) -> None:
    columns = [*rows[0]]
    values = [list(row.values()) for row in rows]
    if encoder is not None:
        require_still_active(connection, encoder.model)
        texts = [stored_text_to_embed(row["headings"], row["content"]) for row in rows]
        columns += ["embedding", "embedding_model", "token_vectors"]
        for each, vectors in zip(values, encoder.encode(texts), strict=True):
            each += [vectors.dense, encoder.model.name, vectors.token_vectors]
    copy_rows(connection, document_chunks.name, columns, values)


def _discard_reembeddings(connection: Connection, chunk_ids: Sequence[UUID]) -> None:
    """A chunk may come back under its ID with another title, which is part of what is embedded."""
    if chunk_ids:
        connection.execute(
            delete(chunk_reembeddings).where(
                chunk_reembeddings.c.chunk_id == func.any(list(chunk_ids))
            )
        )
