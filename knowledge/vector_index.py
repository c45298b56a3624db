"""The HNSW index over the chunks' vectors, which a bulk load goes without."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex, DropIndex

from contracts.tables import document_chunks

VECTOR_INDEX = next(
    index for index in document_chunks.indexes if index.name == "ix_document_chunks__embedding"
)
_FEW_VECTORS = 1000
"""Building an index of so many anew takes less than a second."""
_BUILD_MEMORY = "512MB"
"""A graph that exceeds it is built on disk, many times slower: 100,000 vectors of 256 dimensions
take some 150 MB (https://github.com/pgvector/pgvector#index-build-time)."""

_BUILD_LOCK = 0x51C1D3
"""Key of an advisory lock."""


@contextmanager
def loading_vectors(connection: Connection) -> Iterator[None]:
    """Have the index built after the block's inserts, where there are few vectors before.

    An insert into an HNSW index takes several times as long as its share of a build. Searches
    during the load compare with every vector. The index is also built where the block fails, and
    where an earlier load was killed before it could. `connection` is in no transaction.

    Raises:
        sqlalchemy.exc.DBAPIError: the index could not be dropped or built.
    """
    # A transaction each: two loads that had both read the table could not both lock it.
    with connection.begin():
        has_few_vectors = _has_few_vectors(connection)
    if has_few_vectors:
        with connection.begin():
            connection.execute(DropIndex(VECTOR_INDEX, if_exists=True))
    try:
        yield
    finally:
        build_vector_index(connection)


def build_vector_index(connection: Connection) -> bool:
    """Build the index where it is missing; return whether it was. Readers go on meanwhile.

    Raises:
        sqlalchemy.exc.DBAPIError: it could not be built.
    """
    with connection.begin():
        # Two builds at once would both find it missing.
        connection.execute(select(func.pg_advisory_xact_lock(_BUILD_LOCK)))
        if _exists(connection):
            return False
        prepare_index_build(connection)
        try:
            with connection.begin_nested():
                connection.execute(CreateIndex(VECTOR_INDEX, if_not_exists=True))
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.DiskFull):
                raise
            # Parallel workers share the graph in /dev/shm, which containers are given little of.
            connection.execute(text("SET LOCAL max_parallel_maintenance_workers = 0"))
            connection.execute(CreateIndex(VECTOR_INDEX, if_not_exists=True))
    return True


def prepare_index_build(connection: Connection) -> None:
    """Give the rest of the transaction the memory that building the index takes."""
    connection.execute(text(f"SET LOCAL maintenance_work_mem = '{_BUILD_MEMORY}'"))


def _has_few_vectors(connection: Connection) -> bool:
    vectors = (
        select(1).where(document_chunks.c.embedding.is_not(None)).limit(_FEW_VECTORS).subquery()
    )
    count = connection.scalar(select(func.count()).select_from(vectors))
    return (count or 0) < _FEW_VECTORS


def _exists(connection: Connection) -> bool:
    found = connection.scalar(
        text("SELECT to_regclass(:index)"), {"index": f'"{VECTOR_INDEX.name}"'}
    )
    return found is not None
