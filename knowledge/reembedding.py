"""New vectors for all chunks, made beside the old ones, which serve until the new are complete.

The chunks are parted by the first hexadecimal digit of their IDs. Those are hashes, so the parts
are of equal size, and each is a range of the primary key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy
from sqlalchemy import Connection, and_, column, exists, func, select, table, text
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.tables import chunk_reembeddings, document_chunks, embedding_models
from knowledge.bulk_copy import copy_rows
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.embedded_text import stored_text_to_embed
from knowledge.embedding_models import register_candidate
from knowledge.stored_model import StoredModel

PARTITIONS = tuple("0123456789abcdef")

_CHUNKS_OF_BATCH = 256
_COLUMNS = ("model", "chunk_id", "embedding", "token_vectors")
_STAGING = "arriving_reembeddings"


@dataclass(frozen=True)
class PartitionCount:
    """How far a partition is."""

    chunks: int
    embedded: int
    """Of these, chunks that have a vector of the new model."""


class NoCandidateModel(Exception):
    """There are no new vectors, or of several models; the message says which."""


def count_partition(connection: Connection, partition: str, model: str) -> PartitionCount:
    """Count the chunks of `partition`, and those that have new vectors of `model`."""
    row = connection.execute(
        select(func.count(), func.count().filter(_is_embedded(model))).where(_is_in(partition))
    ).one()
    return PartitionCount(*row)


def reembed_partition(
    connection: Connection, partition: str, encoder: ChunkEncoder
) -> Iterator[int]:
    """Make the vectors that are missing in `partition`; yield the size of each batch written.

    A batch is committed before the next begins, and what is there is not made again: a run that
    was killed loses a batch. `connection` is in no transaction.

    Raises:
        EncoderUnavailable: the encoder does not answer; the batches so far stay.
    """
    with connection.begin():
        register_candidate(connection, encoder.model)
    after: UUID | None = None
    while True:
        with connection.begin():
            batch = _read_missing(connection, partition, encoder.model.name, after)
        if not batch:
            return
        vectors = encoder.encode([stored_text_to_embed(row.headings, row.content) for row in batch])
        rows = [
            (encoder.model.name, row.chunk_id, each.dense, each.token_vectors)
            for row, each in zip(batch, vectors, strict=True)
        ]
        with connection.begin():
            _write(connection, rows)
        yield len(batch)
        after = batch[-1].chunk_id


def find_candidate(connection: Connection, name: str | None = None) -> StoredModel:
    """Return the model `name` that vectors were made of, by default the only such model.

    Raises:
        NoCandidateModel: there is none, or there are several and no name.
    """
    has_vectors = exists().where(chunk_reembeddings.c.model == embedding_models.c.name)
    is_wanted = has_vectors if name is None else embedding_models.c.name == name
    rows = connection.execute(
        select(
            embedding_models.c.name,
            embedding_models.c.dimensions,
            embedding_models.c.token_dimensions,
        )
        .where(is_wanted, ~embedding_models.c.is_active)
        .order_by(embedding_models.c.name)
    ).all()
    if not rows:
        raise NoCandidateModel(
            f"no vectors of {'another model' if name is None else repr(name)} were made:"
            " run the job `reembed_documents` over all partitions first"
        )
    if len(rows) > 1:
        names = ", ".join(repr(row.name) for row in rows)
        raise NoCandidateModel(f"vectors of several models were made: {names}; name one")
    return StoredModel(*rows[0])


def _is_in(partition: str) -> sqlalchemy.ColumnElement[bool]:
    if partition not in PARTITIONS:
        raise ValueError(f"partitions are {', '.join(PARTITIONS)}, not {partition!r}")
    first = UUID(hex=partition + "0" * 31)
    last = UUID(hex=partition + "f" * 31)
    return document_chunks.c.chunk_id.between(first, last)


def _is_embedded(model: str) -> sqlalchemy.ColumnElement[bool]:
    return exists().where(
        chunk_reembeddings.c.model == model,
        chunk_reembeddings.c.chunk_id == document_chunks.c.chunk_id,
    )


def _read_missing(
    connection: Connection, partition: str, model: str, after: UUID | None
) -> Sequence[sqlalchemy.Row[tuple[UUID, str, str]]]:
    condition = and_(_is_in(partition), ~_is_embedded(model))
    if after is not None:
        condition &= document_chunks.c.chunk_id > after
    statement = (
        select(document_chunks.c.chunk_id, document_chunks.c.headings, document_chunks.c.content)
        .where(condition)
        .order_by(document_chunks.c.chunk_id)
        .limit(_CHUNKS_OF_BATCH)
    )
    return connection.execute(statement).all()


def _write(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Two runs of one partition may write the same chunk: the first one's vectors stay."""
    connection.execute(
        text(f"CREATE TEMP TABLE {_STAGING} (LIKE {chunk_reembeddings.name}) ON COMMIT DROP")
    )
    copy_rows(connection, _STAGING, _COLUMNS, rows)
    # The lock keeps a chunk from being deleted, and so its vector from being discarded, between
    # the two tables: a vector of a chunk that is gone would come back with the chunk's ID.
    arriving = table(_STAGING, *(column(name) for name in _COLUMNS))
    # The lock keeps a chunk from being deleted, and its vector discarded, between the two tables:
    # a vector of a chunk that is gone would be there when another comes under its ID.
    kept = (
        select(*(arriving.c[name] for name in _COLUMNS))
        .join(document_chunks, document_chunks.c.chunk_id == arriving.c.chunk_id)
        .order_by(arriving.c.chunk_id)
        .with_for_update(key_share=True, read=True, of=document_chunks)
    )
    connection.execute(
        upsert(chunk_reembeddings).from_select(_COLUMNS, kept).on_conflict_do_nothing()
    )
