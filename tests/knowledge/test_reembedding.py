"""New vectors beside the old ones, and the switch, in the real PostgreSQL."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, func, select, text

from contracts.tables import chunk_reembeddings, document_chunks, documents, metadata
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import chunk_document
from knowledge.document_store import remove_documents, store_document
from knowledge.embedded_text import text_to_embed
from knowledge.embedding_models import (
    EmbeddingModelMismatch,
    StoredModel,
    read_active_model,
    require_model,
)
from knowledge.promotion import ChunksNotReembedded, promote
from knowledge.reembedding import (
    PARTITIONS,
    NoCandidateModel,
    count_partition,
    find_candidate,
    reembed_partition,
)
from tests.knowledge.passages import heading, make_document, paragraph
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine

ROOT = Path(__file__).parents[2]
NEW_MODEL = replace(HASHING_MODEL, name="new", dimensions=384, token_dimensions=32)
NEW = StoredModel("new", 384, 32)
CHUNKS = 60


@pytest.fixture
def engine(sqlalchemy_url: str) -> Iterator[Engine]:
    """A database with a document whose chunks have vectors of the old model."""
    engine = create_engine(sqlalchemy_url)
    with engine.begin() as connection:
        require_model(connection, HASHING_MODEL)
        _store(connection)
    yield engine
    engine.dispose()


def _store(connection: Connection, *, title: str = "Handbook", chunks: int = CHUNKS) -> None:
    blocks = [
        block
        for number in range(chunks)
        for block in (heading(f"Part {number}", 2), paragraph(f"Water of lock {number}."))
    ]
    document = make_document(*blocks, title=title, version=title)
    store_document(
        connection,
        document,
        chunk_document(document),
        collection="manuals",
        encoder=ChunkEncoder(HashingEncoderEngine(), with_tokens=True),
    )


def _reembed(engine: Engine, partitions: str | tuple[str, ...] = PARTITIONS) -> int:
    """Embed the partitions with the new model; return how many texts were encoded."""
    encoder = ChunkEncoder(HashingEncoderEngine(NEW_MODEL), with_tokens=True)
    with engine.connect() as connection:
        for partition in partitions:
            for _ in reembed_partition(connection, partition, encoder):
                pass
    return encoder.text_count


def _promote(engine: Engine) -> None:
    with engine.begin() as connection:
        promote(connection, find_candidate(connection))


def _nearest(connection: Connection, content: str, model: Any = HASHING_MODEL) -> str:
    """The content whose vector is nearest to that of `content` under its own headings."""
    number = content.rstrip(".").rpartition(" ")[2]
    (query,) = HashingEncoderEngine(model).encode(
        [text_to_embed("Handbook", [f"Part {number}"], content)], kind="document"
    )
    nearest = select(document_chunks.c.content).order_by(
        document_chunks.c.embedding.cosine_distance(query.dense.tolist())
    )
    return str(connection.scalar(nearest.limit(1)))


_SCHEMA = {
    "columns": "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attstorage,"
    " attcompression, attgenerated, attstattarget, pg_get_expr(adbin, adrelid)"
    " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
    " WHERE attrelid = 'document_chunks'::regclass AND attnum > 0 ORDER BY attnum",
    "constraints": "SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid = 'document_chunks'::regclass ORDER BY conname",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'document_chunks'"
    " ORDER BY indexname",
    "table": "SELECT relname, reloptions, relowner, relkind, relpersistence, relacl::text"
    " FROM pg_class WHERE pg_class.oid = 'document_chunks'::regclass",
    "others": "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    " ORDER BY relname",
}


def _schema(connection: Connection) -> dict[str, list[Any]]:
    return {
        name: [tuple(row) for row in connection.execute(text(statement))]
        for name, statement in _SCHEMA.items()
    }


def test_every_chunk_is_in_one_partition(engine: Engine) -> None:
    with engine.connect() as connection:
        counts = [count_partition(connection, each, "new") for each in PARTITIONS]
    assert sum(count.chunks for count in counts) == CHUNKS
    assert sum(count.embedded for count in counts) == 0
    assert all(count.chunks < CHUNKS / 3 for count in counts)
    with engine.connect() as connection, pytest.raises(ValueError, match="partitions are"):
        count_partition(connection, "g", "new")


def test_only_what_is_missing_is_embedded(engine: Engine) -> None:
    half = _reembed(engine, "01234567")
    rest = _reembed(engine)

    assert 0 < half < CHUNKS
    assert half + rest == CHUNKS
    assert _reembed(engine) == 0
    with engine.connect() as connection:
        for partition in PARTITIONS:
            count = count_partition(connection, partition, "new")
            assert count.chunks == count.embedded


def test_searches_go_on_with_the_old_vectors_until_the_switch(engine: Engine) -> None:
    _reembed(engine)
    with engine.connect() as connection:
        assert _nearest(connection, "Water of lock 7.") == "Water of lock 7."
        assert read_active_model(connection) == StoredModel("hashing", 256, 64)

    _promote(engine)

    with engine.connect() as connection:
        assert _nearest(connection, "Water of lock 7.", NEW_MODEL) == "Water of lock 7."
        assert read_active_model(connection) == NEW
        assert set(connection.scalars(select(document_chunks.c.embedding_model))) == {"new"}
        assert connection.scalar(select(func.count()).select_from(chunk_reembeddings)) == 0
        (vectors,) = HashingEncoderEngine(NEW_MODEL).encode(
            [text_to_embed("Handbook", ["Part 7"], "Water of lock 7.")], kind="document"
        )
        stored = connection.scalar(
            select(document_chunks.c.embedding).where(
                document_chunks.c.content == "Water of lock 7."
            )
        )
        assert np.allclose(stored, vectors.dense, atol=1e-6)
        with connection.begin_nested(), pytest.raises(NoCandidateModel):
            find_candidate(connection)


def test_the_schema_is_the_same_afterwards_but_for_the_dimensions(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE reader_of_chunks"))
        connection.execute(text("GRANT SELECT ON document_chunks TO reader_of_chunks"))
        connection.execute(
            text("ALTER TABLE document_chunks ALTER search_vector SET STATISTICS 500")
        )
        before = _schema(connection)
    _reembed(engine)
    _promote(engine)

    with engine.begin() as connection:
        after = _schema(connection)
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"compare_type": True}), metadata
        )
        remove_documents(connection, collection="manuals", sources=["handbook.md"])
        assert connection.scalar(select(func.count()).select_from(document_chunks)) == 0
        connection.execute(text("DROP OWNED BY reader_of_chunks"))
        connection.execute(text("DROP ROLE reader_of_chunks"))
    renamed = [
        ("vector(384)" if part == "vector(256)" else part)
        for row in before["columns"]
        for part in row
    ]
    assert [part for row in after["columns"] for part in row] == renamed
    for part in ("constraints", "indexes", "table", "others"):
        assert after[part] == before[part]
    assert [kind for ((kind, *_),) in differences] == ["modify_type"]


def test_a_chunk_that_came_after_the_backfill_is_caught(engine: Engine) -> None:
    _reembed(engine)
    with engine.begin() as connection:
        _store(connection, chunks=CHUNKS + 2)

    with pytest.raises(ChunksNotReembedded, match=f"2 of {CHUNKS + 2} chunks") as refusal:
        _promote(engine)

    assert refusal.value.missing == 2
    with engine.connect() as connection:
        assert read_active_model(connection) == StoredModel("hashing", 256, 64)
    assert _reembed(engine) == 2
    _promote(engine)


def test_a_chunk_with_a_new_title_is_embedded_anew(engine: Engine) -> None:
    """It keeps its ID, but its title is part of what was embedded."""
    _reembed(engine)
    with engine.begin() as connection:
        _store(connection, title="Manual")

    with (
        pytest.raises(ChunksNotReembedded, match=f"{CHUNKS} of {CHUNKS} chunks"),
        engine.begin() as connection,
    ):
        promote(connection, NEW)


def test_an_ingest_with_the_old_model_ends_at_the_switch(engine: Engine) -> None:
    """Else vectors of two models would stand side by side where the dimensions are the same."""
    same_dimensions = replace(NEW_MODEL, dimensions=HASHING_MODEL.dimensions)
    encoder = ChunkEncoder(HashingEncoderEngine(same_dimensions), with_tokens=True)
    with engine.connect() as connection:
        for partition in PARTITIONS:
            list(reembed_partition(connection, partition, encoder))
    _promote(engine)

    with pytest.raises(EmbeddingModelMismatch, match="by now"), engine.begin() as connection:
        _store(connection, chunks=CHUNKS + 1)

    with engine.connect() as connection:
        assert set(connection.scalars(select(document_chunks.c.embedding_model))) == {"new"}


def test_vectors_of_chunks_that_went_are_left_behind(engine: Engine) -> None:
    _reembed(engine)
    with engine.begin() as connection:
        _store(connection, chunks=CHUNKS - 10)

    _promote(engine)

    with engine.connect() as connection:
        count = connection.scalar(select(func.count()).select_from(document_chunks))
        assert count == CHUNKS - 10
        assert connection.scalar(select(documents.c.chunk_count)) == CHUNKS - 10


def test_of_several_candidates_one_must_be_named(engine: Engine) -> None:
    _reembed(engine)
    third = ChunkEncoder(HashingEncoderEngine(replace(NEW_MODEL, name="third")), with_tokens=False)
    with engine.connect() as connection:
        list(reembed_partition(connection, "0", third))
        with pytest.raises(NoCandidateModel, match="'new', 'third'"):
            find_candidate(connection)
        assert find_candidate(connection, "new") == NEW
        with pytest.raises(NoCandidateModel, match="'absent'"):
            find_candidate(connection, "absent")


def test_readers_notice_nothing_of_the_switch(engine: Engine) -> None:
    _reembed(engine)
    errors: list[Exception] = []
    searches = 0
    is_over = threading.Event()

    def search() -> None:
        nonlocal searches
        try:
            with engine.connect() as connection:
                while not is_over.is_set():
                    with connection.begin():
                        found = connection.scalars(
                            select(document_chunks.c.content).where(
                                document_chunks.c.headings.contains("Part 7")
                            )
                        ).all()
                    assert found == ["Water of lock 7."]
                    searches += 1
        except Exception as error:  # noqa: BLE001, whatever it is fails the test below
            errors.append(error)

    reader = threading.Thread(target=search)
    reader.start()
    try:
        with engine.begin() as connection:
            promote(connection, NEW)
            before = searches
            # The new table is complete and the old one dropped, but not committed: readers of
            # the old one would wait here. They only do so from the drop on.
        while searches < before + 20 and not errors:
            is_over.wait(0.01)
    finally:
        is_over.set()
        reader.join(30)

    assert errors == []


_KILLED_RUN = """
import sys
from dataclasses import replace
from sqlalchemy import create_engine
from knowledge import reembedding
from knowledge.chunk_encoder import ChunkEncoder
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine

reembedding._CHUNKS_OF_BATCH = 5
model = replace(HASHING_MODEL, name="new", dimensions=384, token_dimensions=32)
encoder = ChunkEncoder(HashingEncoderEngine(model), with_tokens=True)
done = 0
with create_engine(sys.argv[1]).connect() as connection:
    for partition in reembedding.PARTITIONS:
        for size in reembedding.reembed_partition(connection, partition, encoder):
            done += size
            if done >= 20:
                print(done, flush=True)
                sys.stdin.read()  # until it is killed
"""


def test_a_killed_run_loses_no_more_than_a_batch(engine: Engine) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_RUN, engine.url.render_as_string(hide_password=False)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        done = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL

    assert _reembed(engine) == CHUNKS - done
    _promote(engine)
