"""Ingests of folders into the real PostgreSQL."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, func, select

from contracts.tables import document_chunks, documents
from knowledge import ingest as ingest_module
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.document_store import IngestResult
from knowledge.documents import find_documents
from knowledge.ingest import Ingest, LeftOut, remove_missing, remove_paths
from tests.support.hashing_encoder_engine import HashingEncoderEngine


@pytest.fixture
def connection(sqlalchemy_url: str) -> Iterator[Connection]:
    engine = create_engine(sqlalchemy_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name in ("gates", "locks", "weirs"):
        (folder / f"{name}.md").write_text(f"# {name.title()}\n\nAll about {name}.\n")
    return folder


def _ingest(
    connection: Connection,
    folder: Path,
    *,
    engine: HashingEncoderEngine | None = None,
    max_tokens: int = 200,
    attributes: dict[str, str] | None = None,
) -> list[IngestResult | LeftOut]:
    encoder = ChunkEncoder(engine, with_tokens=True) if engine else None
    ingest = Ingest(
        connection,
        collection="manuals",
        max_tokens=max_tokens,
        attributes=attributes,
        encoder=encoder,
    )
    return list(ingest.run(list(find_documents([folder]))))


def _outcomes(results: Sequence[IngestResult | LeftOut]) -> list[str]:
    return [each.outcome if isinstance(each, IngestResult) else each.reason for each in results]


def _count(connection: Connection) -> tuple[int, int]:
    """Documents, and chunks with vectors."""
    with connection.begin():
        return (
            connection.scalar(select(func.count()).select_from(documents)) or 0,
            connection.scalar(select(func.count(document_chunks.c.embedding))) or 0,
        )


def test_the_texts_of_many_documents_are_encoded_together(
    connection: Connection, folder: Path
) -> None:
    engine = HashingEncoderEngine()

    results = _ingest(connection, folder, engine=engine)

    assert _outcomes(results) == ["added"] * 3
    assert engine.batches == [3]
    assert _count(connection) == (3, 3)


def test_an_unchanged_file_is_not_read_again(
    connection: Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ingest(connection, folder, engine=HashingEncoderEngine())
    (folder / "locks.md").write_text("# Locks\n\nA lock lifts boats.\n")
    read: list[str] = []
    load_document = ingest_module.load_document

    def count_loads(path: Path, *, source: str) -> object:
        read.append(path.name)
        return load_document(path, source=source)

    monkeypatch.setattr(ingest_module, "load_document", count_loads)
    engine = HashingEncoderEngine()

    results = _ingest(connection, folder, engine=engine)

    assert sorted(_outcomes(results)) == ["replaced", "unchanged", "unchanged"]
    assert read == ["locks.md"]
    assert engine.batches == [1]


@pytest.mark.parametrize("changed", ["max_tokens", "attributes", "vectors"])
def test_other_settings_have_the_file_read_again(
    connection: Connection, folder: Path, changed: str
) -> None:
    (folder / "weirs.md").write_text("# Weirs\n\n" + "A weir holds water back. " * 30)
    _ingest(connection, folder)

    if changed == "max_tokens":
        results = _ingest(connection, folder, max_tokens=64)
        assert _outcomes(results) == ["unchanged", "unchanged", "replaced"]
    elif changed == "attributes":
        results = _ingest(connection, folder, attributes={"lang": "en"})
        assert _outcomes(results) == ["replaced"] * 3
    else:
        _ingest(connection, folder, engine=HashingEncoderEngine())
        assert _count(connection)[1] >= 3


def test_a_file_that_cannot_be_read_keeps_what_is_stored(
    connection: Connection, folder: Path
) -> None:
    _ingest(connection, folder)
    (folder / "locks.md").write_text("")

    results = _ingest(connection, folder)

    assert _outcomes(results)[0::2] == ["unchanged", "unchanged"]
    assert isinstance(results[1], LeftOut)
    assert "is empty" in results[1].reason
    assert _count(connection)[0] == 3


def test_front_matter_becomes_attributes(connection: Connection, folder: Path) -> None:
    (folder / "gates.md").write_text("---\nteam: hydro\nlang: en\n---\n# Gates\n\nText.\n")
    (folder / "locks.md").write_text("---\nteam: [\n---\n# Locks\n\nText.\n")

    results = _ingest(connection, folder, attributes={"lang": "fr"})

    with connection.begin():
        attributes = connection.scalars(
            select(documents.c.attributes).order_by(documents.c.source)
        ).all()
    assert attributes == [{"team": "hydro", "lang": "fr"}, {"lang": "fr"}, {"lang": "fr"}]
    warnings = [each.warning for each in results if isinstance(each, IngestResult)]
    assert warnings[1] is not None
    assert "front matter" in warnings[1]
    assert (warnings[0], warnings[2]) == (None, None)


class _RefusingEngine(HashingEncoderEngine):
    """Refuses texts about locks, as an encoder refuses what it cannot encode."""

    def encode(self, texts: Sequence[str], **options: object) -> list:  # type: ignore[override,type-arg]
        if any("locks" in text for text in texts):
            raise ValueError("a text cannot be encoded")
        return super().encode(texts, **options)  # type: ignore[arg-type]


def test_a_text_that_cannot_be_encoded_costs_its_own_document_alone(
    connection: Connection, folder: Path
) -> None:
    results = _ingest(connection, folder, engine=_RefusingEngine())

    assert _outcomes(results) == [
        "added",
        "it could not be embedded: a text cannot be encoded",
        "added",
    ]
    assert _count(connection) == (2, 2)


def test_what_is_gone_from_a_folder_goes_and_nothing_else(
    connection: Connection, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "documents2"
    other.mkdir()
    (other / "dams.md").write_text("# Dams\n\nText.\n")
    _ingest(connection, folder)
    _ingest(connection, other)
    (folder / "locks.md").unlink()
    (other / "dams.md").unlink()
    hidden = folder / ".drafts"
    hidden.mkdir()
    (folder / "weirs.md").rename(hidden / "weirs.md")
    found = list(find_documents([folder]))

    assert remove_missing(connection, [folder], found, collection="other") == []
    removed = remove_missing(connection, [folder], found, collection="manuals")

    assert removed == [str(folder / "locks.md"), str(folder / "weirs.md")]
    assert _count(connection)[0] == 2
    assert remove_missing(connection, [], [], collection="manuals") == []


def test_a_name_that_is_not_utf8_is_not_taken_for_gone(
    connection: Connection, folder: Path
) -> None:
    (folder / "caf\udce9.md").write_text("# Café\n\nText.\n")
    _ingest(connection, folder)

    found = list(find_documents([folder]))

    assert remove_missing(connection, [folder], found, collection="manuals") == []


def test_paths_are_removed_whether_they_exist_or_not(connection: Connection, folder: Path) -> None:
    _ingest(connection, folder)
    (folder / "gates.md").unlink()

    gone = remove_paths(
        connection, [folder / "gates.md", folder / "absent.md"], collection="manuals"
    )

    assert gone == [str(folder / "gates.md")]
    assert len(remove_paths(connection, [folder], collection="manuals")) == 2
    assert _count(connection) == (0, 0)
