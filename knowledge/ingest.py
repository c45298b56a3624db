"""Files read, cut, encoded and stored: what an ingest does, document by document."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from knowledge.chunk_encoder import ChunkEncoder, ChunkVectors
from knowledge.chunking import DEFAULT_OVERLAP_TOKENS, Chunk, chunk_document
from knowledge.document_ids import make_document_id
from knowledge.document_store import (
    IngestResult,
    StoredDocument,
    chunk_rows,
    find_new_texts,
    find_sources_under,
    find_stored,
    remove_documents,
    store_document,
)
from knowledge.documents import Document, UnreadableDocument, hash_document, load_document
from knowledge.ingest_fingerprint import ingest_fingerprint
from knowledge.ports import EncoderRefused
from knowledge.text_cleaning import escape_surrogates

_FILES_LOOKED_UP = 100
_CHUNKS_ENCODED = 512
"""Together, so that short ones fill an encoder's batches."""


@dataclass(frozen=True)
class LeftOut:
    """A file that is not stored anew; what was stored of it stays."""

    source: str
    reason: str


@dataclass(frozen=True)
class _Read:
    """A document that is about to be stored."""

    document: Document
    document_id: UUID
    chunks: Sequence[Chunk]
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _InWork:
    """Documents that are stored when their chunks have been encoded."""

    documents: Sequence[_Read]
    vectors: Future[dict[str, ChunkVectors]] | None
    """None where nothing is to be encoded."""


class Ingest:
    """One ingest into one collection."""

    def __init__(
        self,
        connection: Connection,
        *,
        collection: str,
        max_tokens: int,
        attributes: Mapping[str, str] | None = None,
        encoder: ChunkEncoder | None = None,
    ) -> None:
        """
        Args:
            connection: in no transaction; each document has one of its own.
            max_tokens: of a chunk, by `estimate_tokens`.
            attributes: given to every document, above its own.
            encoder: without it, chunks are stored without vectors.
        """
        self._connection = connection
        self._collection = collection
        self._max_tokens = max_tokens
        self._attributes = dict(attributes or {})
        self._encoder = encoder
        self.seconds = {"read": 0.0, "chunk": 0.0, "embed": 0.0, "store": 0.0}
        """Spent so far, by stage; `embed` is the waiting for vectors, made beside the others."""

    def run(self, files: Sequence[Path]) -> Iterator[IngestResult | LeftOut]:
        """Store one file after another and yield what became of each.

        A file whose bytes, settings and vectors are as they are stored is not even read. While
        some documents' chunks are encoded, those before them are stored and those after them read.

        Raises:
            EncoderUnavailable: the encoder does not answer; documents stored so far stay.
            sqlalchemy.exc.DBAPIError: PostgreSQL failed.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="ingest-encoder") as encoding:
            batch: list[_Read] = []
            in_work: _InWork | None = None
            for read in self._read_changed(files):
                if not isinstance(read, _Read):
                    yield read
                    continue
                batch.append(read)
                if sum(len(each.chunks) for each in batch) >= _CHUNKS_ENCODED:
                    following = self._begin_encoding(batch, encoding)
                    batch = []
                    if in_work is not None:
                        yield from self._store_together(in_work)
                    in_work = following
            following = self._begin_encoding(batch, encoding)
            if in_work is not None:
                yield from self._store_together(in_work)
            yield from self._store_together(following)

    def _read_changed(self, files: Sequence[Path]) -> Iterator[_Read | IngestResult | LeftOut]:
        for start in range(0, len(files), _FILES_LOOKED_UP):
            group = files[start : start + _FILES_LOOKED_UP]
            with self._timed("store"), self._connection.begin():
                stored = find_stored(
                    self._connection,
                    [str(file) for file in group],
                    collection=self._collection,
                    encoder=self._encoder,
                )
            for file in group:
                try:
                    yield self._find_unchanged(file, stored.get(str(file))) or self._read(file)
                except UnreadableDocument as error:
                    yield LeftOut(str(file), str(error))

    def _find_unchanged(self, file: Path, known: StoredDocument | None) -> IngestResult | None:
        if known is None or not known.is_complete:
            return None
        with self._timed("read"):
            fingerprint = self._fingerprint(hash_document(file))
        if fingerprint != known.ingest_fingerprint:
            return None
        return IngestResult(known.document_id, str(file), "unchanged", known.chunk_count)

    def _read(self, file: Path) -> _Read:
        with self._timed("read"):
            document = load_document(file, source=str(file))
        with self._timed("chunk"):
            chunks = chunk_document(
                document,
                max_tokens=self._max_tokens,
                overlap_tokens=min(DEFAULT_OVERLAP_TOKENS, self._max_tokens // 2),
            )
            rows = chunk_rows(document, chunks, collection=self._collection)
        document_id = make_document_id(self._collection, document.source)
        return _Read(document, document_id, chunks, rows)

    def _begin_encoding(self, documents: Sequence[_Read], encoding: ThreadPoolExecutor) -> _InWork:
        """Have the documents' new chunks encoded at once, in the background."""
        if self._encoder is None or not documents:
            return _InWork(documents, None)
        with self._timed("store"), self._connection.begin():
            texts = find_new_texts(
                self._connection,
                [(each.document_id, each.rows) for each in documents],
                self._encoder,
            )
        return _InWork(documents, encoding.submit(self._encoder.encode_distinct, texts))

    def _store_together(self, in_work: _InWork) -> Iterator[IngestResult | LeftOut]:
        """Store each document in its own transaction once the chunks are encoded."""
        if self._encoder is not None and in_work.vectors is not None:
            with self._timed("embed"):
                try:
                    self._encoder.keep(in_work.vectors.result())
                except (ValueError, EncoderRefused):
                    # One of the texts is at fault: storing them one by one tells which.
                    self._encoder.keep({})
        for each in in_work.documents:
            try:
                yield self._store(each)
            except (ValueError, EncoderRefused) as error:
                yield LeftOut(each.document.source, f"it could not be embedded: {error}")

    def _store(self, read: _Read) -> IngestResult:
        with self._timed("store"), self._connection.begin():
            return store_document(
                self._connection,
                read.document,
                read.chunks,
                collection=self._collection,
                encoder=self._encoder,
                attributes=self._attributes,
                fingerprint=self._fingerprint(read.document.content_sha256),
            )

    def _fingerprint(self, content_sha256: bytes) -> bytes:
        return ingest_fingerprint(
            content_sha256, max_tokens=self._max_tokens, attributes=self._attributes
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started


def remove_missing(
    connection: Connection, folders: Sequence[Path], found: Sequence[Path], *, collection: str
) -> list[str]:
    """Delete the documents whose files lay under `folders` and exist no more; return them.

    Args:
        found: the files that are there now, whatever bytes their names are of.
    """
    there = {escape_surrogates(str(file)) for file in found}
    with connection.begin():
        stored = find_sources_under(
            connection, [str(folder) for folder in folders], collection=collection
        )
        gone = [each for each in stored if each not in there and not Path(each).exists()]
        remove_documents(connection, collection=collection, sources=gone)
    return gone


def remove_paths(connection: Connection, paths: Sequence[Path], *, collection: str) -> list[str]:
    """Delete the documents of `paths`, or under them where they were folders; return them."""
    with connection.begin():
        sources = find_sources_under(
            connection, [str(path) for path in paths], collection=collection
        )
        remove_documents(connection, collection=collection, sources=sources)
    return sources
