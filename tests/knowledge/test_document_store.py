"""Documents stored in the real PostgreSQL."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, create_engine, func, select, update

from contracts.tables import EMBEDDING_DIMENSIONS, document_chunks, documents
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import Chunk, chunk_document
from knowledge.document_ids import make_document_id
from knowledge.document_store import (
    find_sources_under,
    remove_documents,
    store_document,
)
from knowledge.documents import Document
from knowledge.embedded_text import text_to_embed
from knowledge.token_vectors import unpack_token_vectors
from tests.knowledge.passages import heading, make_document, paragraph
from tests.support.hashing_encoder_engine import HashingEncoderEngine

HANDBOOK = make_document(
    heading("Handbook"),
    paragraph("Intro."),
    heading("Gates", 2),
    paragraph("Up."),
    heading("Locks", 2),
    paragraph("Boats."),
)


@pytest.fixture
def engine(sqlalchemy_url: str) -> Iterator[Engine]:
    engine = create_engine(sqlalchemy_url)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def _store(
    connection: Connection, document: Document, chunks: Sequence[Chunk] | None = None
) -> Any:
    stored = chunk_document(document) if chunks is None else chunks
    return store_document(connection, document, stored, collection="manuals")


def _rows(connection: Connection) -> dict[str, Any]:
    """The stored chunks by content, in order."""
    chunks = select(document_chunks).order_by(document_chunks.c.position)
    return {row.content: row for row in connection.execute(chunks)}


def test_a_new_document_is_added_with_its_chunks(connection: Connection) -> None:
    result = _store(connection, HANDBOOK)

    assert (result.outcome, result.chunk_count, result.source) == ("added", 3, "handbook.md")
    document = connection.execute(select(documents)).one()
    assert document.document_id == result.document_id
    assert (document.title, document.chunk_count) == ("Handbook", 3)
    assert document.content_sha256 == HANDBOOK.content_sha256
    rows = _rows(connection)
    assert [row.position for row in rows.values()] == [0, 1, 2]
    assert rows["Up."].heading_path == ["Gates"]
    assert rows["Up."].headings == "Handbook\nGates"
    assert "'gate':2A" in rows["Up."].search_vector


def test_ids_are_the_same_in_every_database(connection: Connection) -> None:
    result = _store(connection, HANDBOOK)
    assert result.document_id == make_document_id("manuals", "handbook.md")
    assert str(result.document_id) == "7b67fb92-7ffd-5097-be38-c5fcc9121383"
    assert str(_rows(connection)["Up."].chunk_id) == "8f315dfa-b202-5974-8c66-1b7b64b41e14"


def test_an_unchanged_document_writes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        _store(connection, HANDBOOK)
        before = connection.execute(select(documents)).one()
    with engine.begin() as connection:
        assert _store(connection, HANDBOOK).outcome == "unchanged"
        assert connection.scalar(select(func.pg_current_xact_id_if_assigned())) is None
        assert connection.execute(select(documents)).one() == before


def test_a_changed_document_keeps_the_chunks_that_stayed(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    vector = [1.0] + [0.0] * (EMBEDDING_DIMENSIONS - 1)
    connection.execute(update(document_chunks).values(embedding=vector))
    changed = make_document(
        *HANDBOOK.blocks[:3], paragraph("Down."), *HANDBOOK.blocks[4:], version="2"
    )

    result = _store(connection, changed)

    assert (result.outcome, result.chunk_count) == ("replaced", 3)
    rows = _rows(connection)
    assert list(rows) == ["Intro.", "Down.", "Boats."]
    assert [row.embedding is not None for row in rows.values()] == [True, False, True]


def test_fewer_chunks_leave_none_behind(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    _store(connection, make_document(*HANDBOOK.blocks[:2], version="2"))
    assert list(_rows(connection)) == ["Intro."]


def test_other_chunks_of_the_same_file_replace_the_stored_ones(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    chunks = [replace(chunk, content=chunk.content * 2) for chunk in chunk_document(HANDBOOK)]
    assert _store(connection, HANDBOOK, chunks).outcome == "replaced"
    assert "Up.Up." in _rows(connection)


def test_a_new_title_reaches_every_chunk(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    renamed = replace(HANDBOOK, title="Manual")
    assert _store(connection, renamed, chunk_document(HANDBOOK)).outcome == "replaced"
    assert {row.headings.split("\n")[0] for row in _rows(connection).values()} == {"Manual"}


def test_collections_do_not_mix(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    chunks = chunk_document(HANDBOOK)
    other = store_document(connection, HANDBOOK, chunks, collection="other")
    assert other.outcome == "added"
    assert remove_documents(connection, collection="other", sources=["handbook.md"]) == 1
    assert len(_rows(connection)) == 3


def test_removal_counts_what_was_there(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    assert (
        remove_documents(connection, collection="manuals", sources=["handbook.md", "absent.md"])
        == 1
    )
    assert _rows(connection) == {}
    assert remove_documents(connection, collection="manuals", sources=[]) == 0


def test_text_that_postgresql_refuses_is_cleaned(connection: Connection) -> None:
    document = replace(HANDBOOK, source="caf\udce9\x00.md", title="A\x00 \ud800title")
    chunks = [Chunk(0, ("He\x00ading",), "Con\x00tent \udfff", 3)]
    assert _store(connection, document, chunks).outcome == "added"
    assert "Content \ufffd" in _rows(connection)
    assert _store(connection, document, chunks).outcome == "unchanged"
    assert remove_documents(connection, collection="manuals", sources=[document.source]) == 1


def test_the_transaction_is_the_callers(engine: Engine) -> None:
    with engine.connect() as connection:
        _store(connection, HANDBOOK)
        connection.rollback()
    with engine.connect() as connection:
        assert connection.execute(select(documents)).all() == []


def test_two_writers_of_one_document_take_turns(engine: Engine) -> None:
    versions = [
        make_document(heading("Handbook"), paragraph(f"Version {i}."), version=str(i))
        for i in range(8)
    ]
    errors: list[Exception] = []

    def write(document: Document) -> None:
        try:
            with engine.begin() as connection:
                _store(connection, document)
        except Exception as error:  # noqa: BLE001, whatever it is fails the test below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(document,)) for document in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert errors == []
    with engine.connect() as connection:
        stored = connection.execute(select(documents)).one()
        assert len(_rows(connection)) == stored.chunk_count == 1


def _encoder(engine: HashingEncoderEngine | None = None) -> ChunkEncoder:
    return ChunkEncoder(engine or HashingEncoderEngine(), with_tokens=True)


def _store_with(connection: Connection, document: Document, encoder: ChunkEncoder) -> Any:
    chunks = chunk_document(document)
    return store_document(connection, document, chunks, collection="manuals", encoder=encoder)


def test_a_chunks_vectors_are_those_of_its_title_headings_and_content(
    connection: Connection,
) -> None:
    _store_with(connection, HANDBOOK, _encoder())

    (expected,) = HashingEncoderEngine().encode(
        [text_to_embed("Handbook", ["Gates"], "Up.")], kind="document", with_tokens=True
    )
    row = _rows(connection)["Up."]
    assert row.embedding_model == "hashing"
    assert np.allclose(row.embedding, expected.dense, atol=1e-6)
    assert expected.tokens is not None
    assert np.allclose(unpack_token_vectors(row.token_vectors), expected.tokens, atol=0.01)


def test_only_new_chunks_are_encoded(connection: Connection) -> None:
    _store_with(connection, HANDBOOK, _encoder())
    changed = make_document(
        *HANDBOOK.blocks[:3], paragraph("Down."), *HANDBOOK.blocks[4:], version="2"
    )
    encoder = _encoder()

    result = _store_with(connection, changed, encoder)

    assert (result.outcome, result.new_chunk_count, encoder.text_count) == ("replaced", 1, 1)
    assert all(row.embedding is not None for row in _rows(connection).values())
    assert _store_with(connection, changed, encoder).outcome == "unchanged"
    assert encoder.text_count == 1


def test_chunks_without_vectors_get_them(connection: Connection) -> None:
    _store(connection, HANDBOOK)
    ids = {row.chunk_id for row in _rows(connection).values()}

    assert _store_with(connection, HANDBOOK, _encoder()).new_chunk_count == 3

    rows = _rows(connection).values()
    assert {row.chunk_id for row in rows} == ids
    assert all(row.embedding is not None for row in rows)
    # Without an encoder, what is there stays.
    assert _store(connection, HANDBOOK).outcome == "unchanged"


def test_a_new_title_is_encoded_anew(connection: Connection) -> None:
    _store_with(connection, HANDBOOK, _encoder())
    before = _rows(connection)["Up."].embedding
    encoder = _encoder()

    _store_with(connection, replace(HANDBOOK, title="Manual of weirs"), encoder)

    assert encoder.text_count == 3
    assert not np.allclose(_rows(connection)["Up."].embedding, before, atol=1e-3)


def test_attributes_of_the_ingest_stand_above_the_files_own(connection: Connection) -> None:
    document = replace(HANDBOOK, attributes={"lang": "en", "tags": ["a"]})

    def store(attributes: dict[str, str]) -> Any:
        return store_document(
            connection,
            document,
            chunk_document(document),
            collection="manuals",
            attributes=attributes,
        )

    store({"lang": "fr"})
    ids = {row.chunk_id for row in _rows(connection).values()}
    assert connection.scalar(select(documents.c.attributes)) == {"lang": "fr", "tags": ["a"]}

    assert store({}).outcome == "replaced"
    assert connection.scalar(select(documents.c.attributes)) == {"lang": "en", "tags": ["a"]}
    assert {row.chunk_id for row in _rows(connection).values()} == ids
    assert store({}).outcome == "unchanged"


def test_a_failing_encoder_leaves_the_stored_document(engine: Engine) -> None:
    with engine.begin() as connection:
        _store_with(connection, HANDBOOK, _encoder())
    failing = HashingEncoderEngine()
    failing.failing_words = {"down"}
    changed = make_document(*HANDBOOK.blocks[:3], paragraph("Down."), version="2")

    with pytest.raises(RuntimeError, match="told to fail"), engine.begin() as connection:
        _store_with(connection, changed, _encoder(failing))

    with engine.connect() as connection:
        assert list(_rows(connection)) == ["Intro.", "Up.", "Boats."]


def test_sources_are_found_under_folders_and_nowhere_else(connection: Connection) -> None:
    for source in ("/a/b.md", "/a/b/c.md", "/a/bc.md", "/a/%.md"):
        _store(connection, replace(HANDBOOK, source=source))

    def find(*paths: str) -> list[str]:
        return find_sources_under(connection, paths, collection="manuals")

    assert find("/a/b") == ["/a/b/c.md"]
    assert find("/a/b.md", "/a/bc.md") == ["/a/b.md", "/a/bc.md"]
    assert len(find("/a/")) == len(find("/")) == 4
    assert find("/a/%", "/A") == find() == []
    assert find_sources_under(connection, ["/a"], collection="other") == []
