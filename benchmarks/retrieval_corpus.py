"""A hundred thousand chunks to search: real ones, and variations of them."""

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from sqlalchemy import Connection, insert, select
from sqlalchemy.schema import DropIndex

from contracts.tables import document_chunks, documents
from knowledge.bulk_copy import copy_rows
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.document_store import IngestResult
from knowledge.embedded_text import choose_max_tokens
from knowledge.embedding_models import require_model
from knowledge.ingest import Ingest
from knowledge.ports import BlockingEncoder
from knowledge.vector_index import VECTOR_INDEX, loading_vectors

REAL_COLLECTION = "real"
VARIED_COLLECTION = "varied"
RARE_COLLECTION = "rare"
"""Every hundredth of the varied chunks: a filter of 1 % selectivity."""

_NOISE = 0.03
"""Standard deviation per dimension: a variation's cosine with its original is about 0.9."""
_KEPT_SENTENCES = 0.8
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+")
_SEED = 11


@dataclass(frozen=True)
class IngestFigures:
    """How fast real documents went in, the index included."""

    chunk_count: int
    token_count: int
    seconds: float

    @property
    def chunks_per_second(self) -> float:
        return self.chunk_count / self.seconds

    @property
    def tokens_per_chunk(self) -> float:
        return self.token_count / self.chunk_count


def ingest_files(
    connection: Connection, files: list[Path], encoder: BlockingEncoder, *, chunk_limit: int
) -> IngestFigures:
    """Ingest `files` as a Dagster run does, until there are `chunk_limit` chunks."""
    with connection.begin():
        require_model(connection, encoder.model)
    chunks = ChunkEncoder(encoder, with_tokens=True)
    ingest = Ingest(
        connection,
        collection=REAL_COLLECTION,
        max_tokens=choose_max_tokens(encoder.model),
        encoder=chunks,
    )
    started = time.perf_counter()
    count = 0
    with loading_vectors(connection):
        for outcome in ingest.run(files):
            if isinstance(outcome, IngestResult):
                count += outcome.chunk_count
            if count >= chunk_limit:
                break
    seconds = time.perf_counter() - started
    return IngestFigures(count, chunks.token_count, seconds)


def add_variations(connection: Connection, total: int, *, say: Callable[[str], None]) -> None:
    """Fill `document_chunks` up to `total` rows with variations of the real ones.

    A variation has a fifth of the sentences left out and the others in another order, and its
    vector moved by Gaussian noise: like a further document on the same subject.
    """
    originals = connection.execute(
        select(
            document_chunks.c.headings,
            document_chunks.c.heading_path,
            document_chunks.c.content,
            document_chunks.c.token_estimate,
            document_chunks.c.embedding,
            document_chunks.c.embedding_model,
            document_chunks.c.token_vectors,
        )
    ).all()
    document_id = uuid4()
    connection.execute(
        insert(documents).values(
            document_id=document_id,
            collection=VARIED_COLLECTION,
            source="variations",
            title="Variations",
            media_type="text/plain",
            content_sha256=b"",
            chunk_count=total - len(originals),
        )
    )
    connection.commit()
    columns = (
        "chunk_id",
        "document_id",
        "collection",
        "position",
        "heading_path",
        "headings",
        "content",
        "token_estimate",
        "embedding",
        "embedding_model",
        "token_vectors",
    )
    with loading_vectors_anew(connection), connection.begin():
        rows = _variations(originals, total - len(originals), document_id)
        copy_rows(connection, document_chunks.name, columns, rows)
    say(f"{len(originals):,} real chunks, {total - len(originals):,} variations of them")


def loading_vectors_anew(connection: Connection) -> Any:
    """Drop the index however full it is, and build it after the block."""
    with connection.begin():
        connection.execute(DropIndex(VECTOR_INDEX, if_exists=True))
    return loading_vectors(connection)


def _variations(originals: Any, count: int, document_id: UUID) -> Iterator[tuple[Any, ...]]:
    choice = random.Random(_SEED)
    noise = np.random.default_rng(_SEED)
    for position in range(count):
        original = originals[position % len(originals)]
        sentences = _SENTENCE_END.split(original.content)
        kept = choice.sample(sentences, max(1, round(len(sentences) * _KEPT_SENTENCES)))
        vector = np.asarray(original.embedding, np.float32)
        vector = vector + noise.normal(0, _NOISE, vector.shape).astype(np.float32)
        vector /= np.linalg.norm(vector)
        yield (
            uuid4(),
            document_id,
            RARE_COLLECTION if position % 100 == 0 else VARIED_COLLECTION,
            position,
            list(original.heading_path),
            original.headings,
            " ".join(kept),
            original.token_estimate,
            vector,
            original.embedding_model,
            original.token_vectors,
        )
