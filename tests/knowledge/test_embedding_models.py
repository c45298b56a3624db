"""Which model's vectors may be stored."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, create_engine, text

from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import chunk_document
from knowledge.document_store import store_document
from knowledge.embedding_models import (
    EmbeddingModelMismatch,
    StoredModel,
    read_active_model,
    read_column_dimensions,
    register_candidate,
    require_model,
)
from tests.knowledge.passages import make_document, paragraph
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine

OTHER = replace(HASHING_MODEL, name="other")


@pytest.fixture
def connection(sqlalchemy_url: str) -> Iterator[Connection]:
    engine = create_engine(sqlalchemy_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _store_vectors(connection: Connection) -> None:
    document = make_document(paragraph("A sluice lets a stream into a lake."))
    store_document(
        connection,
        document,
        chunk_document(document),
        collection="manuals",
        encoder=ChunkEncoder(HashingEncoderEngine(), with_tokens=True),
    )


def test_the_first_model_becomes_the_active_one(connection: Connection) -> None:
    assert read_active_model(connection) is None

    require_model(connection, HASHING_MODEL)
    require_model(connection, HASHING_MODEL)

    assert read_active_model(connection) == StoredModel("hashing", 256, 64)


def test_another_model_may_come_as_long_as_no_vectors_are_stored(connection: Connection) -> None:
    require_model(connection, HASHING_MODEL)
    require_model(connection, OTHER)

    assert read_active_model(connection) == StoredModel("other", 256, 64)


def test_another_model_beside_stored_vectors_is_refused_with_both_names(
    connection: Connection,
) -> None:
    require_model(connection, HASHING_MODEL)
    _store_vectors(connection)

    other = replace(HASHING_MODEL, name="other", dimensions=384)
    with pytest.raises(EmbeddingModelMismatch) as refusal:
        require_model(connection, other)

    message = str(refusal.value)
    for part in ("'hashing'", "256 dimensions", "'other'", "384 dimensions", "sluice reembed"):
        assert part in message
    assert read_active_model(connection) == StoredModel("hashing", 256, 64)


def test_a_column_of_other_dimensions_is_refused_with_both_numbers(connection: Connection) -> None:
    with pytest.raises(EmbeddingModelMismatch, match=r"384 dimensions.* 256 dimensions"):
        require_model(connection, replace(HASHING_MODEL, dimensions=384))

    assert read_active_model(connection) is None


def test_the_columns_dimensions_are_those_of_its_type(connection: Connection) -> None:
    assert read_column_dimensions(connection) == 256
    connection.execute(text("DROP INDEX ix_document_chunks__embedding"))
    connection.execute(text("ALTER TABLE document_chunks ALTER embedding TYPE vector"))
    assert read_column_dimensions(connection) is None


def test_a_candidate_changes_nothing_of_the_active_model(connection: Connection) -> None:
    require_model(connection, HASHING_MODEL)

    register_candidate(connection, OTHER)
    register_candidate(connection, replace(HASHING_MODEL, dimensions=3))

    assert read_active_model(connection) == StoredModel("hashing", 256, 64)
