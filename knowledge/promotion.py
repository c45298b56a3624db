"""The switch to new vectors: all at once, while searches go on with the old ones."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    column,
    delete,
    func,
    insert,
    select,
    table,
    text,
)

from contracts.tables import chunk_reembeddings, document_chunks, documents
from knowledge.embedding_models import activate_model, read_active_model
from knowledge.stored_model import StoredModel
from knowledge.vector_index import prepare_index_build

_TABLE = document_chunks.name
_NEXT = f"{_TABLE}_next"


class ChunksNotReembedded(Exception):
    """Chunks have no vector of the new model; the message says how many."""

    def __init__(self, missing: int, total: int, model: StoredModel) -> None:
        super().__init__(
            f"{missing} of {total} chunks have no vector of {model}: run the job"
            " `reembed_documents` over all partitions, it makes only what is missing"
        )
        self.missing = missing
        self.total = total


@dataclass(frozen=True)
class Promotion:
    """What a promotion did."""

    chunk_count: int
    model: StoredModel
    previous_model: StoredModel | None


def promote(connection: Connection, model: StoredModel) -> Promotion:
    """Give every chunk its vector of `model` and make that the active model.

    In the caller's transaction `document_chunks` is built anew, since its column is of the old
    model's dimensions, with everything that the old table has: defaults, constraints, indexes,
    privileges. Searches go on with the old table until the commit, writers wait. The columns'
    own statistics are to be gathered after the commit (`refresh_statistics`).

    Raises:
        ChunksNotReembedded: vectors are missing; the transaction may be ended either way.
    """
    # An ingest writes to `documents` before it writes to `document_chunks`: the same order here,
    # or each could wait for the other.
    connection.execute(text(f"LOCK TABLE {documents.name}, {_TABLE} IN SHARE ROW EXCLUSIVE MODE"))
    total, missing = _count_missing(connection, model)
    if missing:
        raise ChunksNotReembedded(missing, total, model)
    previous = read_active_model(connection)
    prepare_index_build(connection)
    _create_next(connection, model)
    _fill_next(connection, model)
    renames = _add_constraints(connection) + _build_indexes(connection)
    _copy_privileges(connection)
    connection.execute(text(f"DROP TABLE {_TABLE}"))
    connection.execute(text(f"ALTER TABLE {_NEXT} RENAME TO {_TABLE}"))
    for statement in renames:
        connection.execute(text(statement))
    activate_model(connection, model)
    connection.execute(delete(chunk_reembeddings).where(chunk_reembeddings.c.model == model.name))
    return Promotion(total, model, previous)


def _count_missing(connection: Connection, model: StoredModel) -> tuple[int, int]:
    """Return how many chunks there are, and how many of them have no new vector."""
    new = _new_vectors(model)
    total, present = connection.execute(
        select(func.count(), func.count(chunk_reembeddings.c.chunk_id)).select_from(
            document_chunks.outerjoin(chunk_reembeddings, new)
        )
    ).one()
    return total, total - present


def _new_vectors(model: StoredModel) -> ColumnElement[bool]:
    """Condition that joins the chunks with their new vectors."""
    return and_(
        chunk_reembeddings.c.chunk_id == document_chunks.c.chunk_id,
        chunk_reembeddings.c.model == model.name,
        func.vector_dims(chunk_reembeddings.c.embedding) == model.dimensions,
    )


def _create_next(connection: Connection, model: StoredModel) -> None:
    alter = f"ALTER TABLE {_NEXT} "
    connection.execute(
        text(f"CREATE TABLE {_NEXT} (LIKE {_TABLE} INCLUDING ALL EXCLUDING INDEXES)")
    )
    connection.execute(text(f"{alter} ALTER embedding TYPE vector({model.dimensions:d})"))
    # What follows does not come with LIKE.
    options = connection.scalars(
        text(
            "SELECT unnest(reloptions) FROM pg_class WHERE pg_class.oid = CAST(:table AS regclass)"
        ),
        {"table": _TABLE},
    )
    for option in options.all():
        connection.execute(text(f"{alter} SET ({option})"))
    targets = connection.execute(
        text(
            "SELECT attname, attstattarget FROM pg_attribute"
            " WHERE attrelid = CAST(:table AS regclass) AND attstattarget >= 0 AND attnum > 0"
        ),
        {"table": _TABLE},
    )
    for name, target in targets.all():
        connection.execute(text(f'{alter} ALTER "{name}" SET STATISTICS {target:d}'))


def _fill_next(connection: Connection, model: StoredModel) -> None:
    new_values: dict[str, Column[Any]] = {
        "embedding": chunk_reembeddings.c.embedding,
        "embedding_model": chunk_reembeddings.c.model,
        "token_vectors": chunk_reembeddings.c.token_vectors,
    }
    columns = [each for each in document_chunks.columns if each.computed is None]
    names = [each.name for each in columns]
    values = select(*(new_values.get(each.name, each) for each in columns)).select_from(
        document_chunks.join(chunk_reembeddings, _new_vectors(model))
    )
    next_table = table(_NEXT, *(column(name) for name in names))
    connection.execute(insert(next_table).from_select(names, values))


def _add_constraints(connection: Connection) -> list[str]:
    """Add primary and foreign keys under other names; return the statements that rename them.

    Checks and NOT NULL came with the columns, under their own names.
    """
    found = connection.execute(
        text(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = CAST(:table AS regclass) AND contype IN ('p', 'u', 'f', 'x')"
            " ORDER BY contype DESC, conname"
        ),
        {"table": _TABLE},
    ).all()
    renames = []
    for number, (name, definition) in enumerate(found):
        temporary = f"next_constraint_{number}"
        connection.execute(text(f"ALTER TABLE {_NEXT} ADD CONSTRAINT {temporary} {definition}"))
        renames.append(f'ALTER TABLE {_TABLE} RENAME CONSTRAINT {temporary} TO "{name}"')
    return renames


def _build_indexes(connection: Connection) -> list[str]:
    """Build the indexes under other names; return the statements that rename them.

    One that is missing because a bulk load was killed is built by the next ingest.
    """
    found = connection.execute(
        text(
            "SELECT relname, indisunique, pg_get_indexdef(indexrelid) FROM pg_index"
            " JOIN pg_class ON pg_class.oid = indexrelid"
            " WHERE indrelid = CAST(:table AS regclass) AND NOT EXISTS"
            " (SELECT FROM pg_constraint WHERE conindid = indexrelid"
            " AND conrelid = indrelid) ORDER BY relname"
        ),
        {"table": _TABLE},
    ).all()
    renames = []
    for number, (name, is_unique, definition) in enumerate(found):
        temporary = f"next_index_{number}"
        # CREATE INDEX name ON table USING method (…): https://www.postgresql.org/docs/18/
        # functions-info.html#FUNCTIONS-INFO-CATALOG
        _, _, method_and_columns = definition.partition(" USING ")
        connection.exec_driver_sql(
            f"CREATE {'UNIQUE ' if is_unique else ''}INDEX {temporary} ON {_NEXT}"
            f" USING {method_and_columns}"
        )
        renames.append(f'ALTER INDEX {temporary} RENAME TO "{name}"')
    return renames


def _copy_privileges(connection: Connection) -> None:
    """Grant on the new table what was granted on the old one, to others than its owner."""
    granted = connection.execute(
        text(
            "SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,"
            " privilege_type, is_grantable FROM pg_class, aclexplode(relacl)"
            " WHERE pg_class.oid = CAST(:table AS regclass) AND grantee <> relowner"
        ),
        {"table": _TABLE},
    ).all()
    for grantee, privilege, is_grantable in granted:
        option = " WITH GRANT OPTION" if is_grantable else ""
        connection.execute(text(f"GRANT {privilege} ON {_NEXT} TO {grantee}{option}"))
