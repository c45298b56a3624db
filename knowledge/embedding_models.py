"""Which model's vectors are in `document_chunks`."""

from sqlalchemy import Connection, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from contracts.tables import document_chunks, embedding_models
from knowledge.ports import EncoderModel
from knowledge.stored_model import StoredModel


class EmbeddingModelMismatch(Exception):
    """The encoder's vectors cannot stand beside the stored ones; the message names both."""


def read_active_model(connection: Connection) -> StoredModel | None:
    """Return the model of the stored vectors; None where there are none yet."""
    row = connection.execute(
        select(
            embedding_models.c.name,
            embedding_models.c.dimensions,
            embedding_models.c.token_dimensions,
        ).where(embedding_models.c.is_active)
    ).one_or_none()
    return None if row is None else StoredModel(*row)


def read_column_dimensions(connection: Connection) -> int | None:
    """Return N of the column's type `vector(N)`; None where it takes any."""
    modifier = connection.scalar(
        text(
            "SELECT atttypmod FROM pg_attribute WHERE attrelid = CAST(:table AS regclass)"
            " AND attname = 'embedding'"
        ),
        {"table": document_chunks.name},
    )
    return None if modifier is None or modifier < 0 else int(modifier)


def require_model(connection: Connection, model: EncoderModel) -> None:
    """Make sure that the vectors of `model` may be stored, in the caller's transaction.

    Where no vectors are stored yet, `model` becomes the active one.

    Raises:
        EmbeddingModelMismatch: the vectors there are of another model, or the column has other
            dimensions.
    """
    # Two first ingests at once are not to register two models.
    connection.execute(text(f"LOCK TABLE {embedding_models.name} IN SHARE ROW EXCLUSIVE MODE"))
    active = read_active_model(connection)
    mine = stored_model(model)
    if active is not None and active != mine and _has_vectors(connection):
        raise EmbeddingModelMismatch(
            f"the encoder serves {_describe(mine)}, but the stored vectors are of"
            f" {_describe(active)}. {_REMEDY}"
        )
    column_dimensions = read_column_dimensions(connection)
    if column_dimensions is not None and column_dimensions != model.dimensions:
        raise EmbeddingModelMismatch(
            f"the encoder serves {mine}, but `document_chunks.embedding` takes vectors of"
            f" {column_dimensions} dimensions. {_REMEDY}"
        )
    if active != mine:
        activate_model(connection, mine)


def require_still_active(connection: Connection, model: EncoderModel) -> None:
    """Make sure that no other model was promoted since `require_model`.

    To be called where the transaction has written to `documents`: a promotion waits for that, or
    is over. Without any active model there is nothing to mix with.

    Raises:
        EmbeddingModelMismatch: the vectors there are of another model by now.
    """
    active = read_active_model(connection)
    if active is not None and active != stored_model(model):
        raise EmbeddingModelMismatch(
            f"the encoder serves {_describe(stored_model(model))}, but the stored vectors are of"
            f" {_describe(active)} by now. {_REMEDY}"
        )


def register_candidate(connection: Connection, model: EncoderModel) -> None:
    """Note `model` as one whose vectors are being made; the active model stays."""
    mine = stored_model(model)
    connection.execute(
        upsert(embedding_models)
        .values(**_columns(mine), is_active=False)
        .on_conflict_do_update(
            index_elements=[embedding_models.c.name],
            # An active model's figures describe vectors that are stored.
            set_=_columns(mine),
            where=~embedding_models.c.is_active,
        )
    )


def activate_model(connection: Connection, model: StoredModel) -> None:
    """Make `model` the active one, in the caller's transaction."""
    connection.execute(
        update(embedding_models).where(embedding_models.c.is_active).values(is_active=False)
    )
    connection.execute(
        upsert(embedding_models)
        .values(**_columns(model), is_active=True)
        .on_conflict_do_update(
            index_elements=[embedding_models.c.name],
            set_={**_columns(model), "is_active": True, "activated_at": func.now()},
        )
    )


def stored_model(model: EncoderModel) -> StoredModel:
    """Return what is kept of `model`."""
    return StoredModel(model.name, model.dimensions, model.token_dimensions)


_REMEDY = (
    "Configure the encoder of the stored vectors, or embed all chunks anew with `sluice reembed`"
    " (the jobs `reembed_documents` and `promote_embeddings`)"
)


def _has_vectors(connection: Connection) -> bool:
    stored = exists().where(document_chunks.c.embedding.is_not(None))
    return bool(connection.scalar(select(stored)))


def _describe(model: StoredModel) -> str:
    tokens = model.token_dimensions
    return str(model) if tokens is None else f"{model!s} with token vectors of {tokens}"


def _columns(model: StoredModel) -> dict[str, str | int | None]:
    return {
        "name": model.name,
        "dimensions": model.dimensions,
        "token_dimensions": model.token_dimensions,
    }
