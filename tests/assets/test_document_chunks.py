"""Ingest as a materialization, into the real database."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagster import ExecuteInProcessResult, RunRequest, TableMetadataValue
from pypdf import PdfWriter

from resources.encoder import EncoderResource
from tests.support.dagster_runs import Orchestrator
from tests.support.hashing_encoder_resource import HashingEncoderResource


def _orchestrator(database_url: str, encoder: EncoderResource | None) -> Orchestrator:
    return Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1", encoder=encoder)


@pytest.fixture
def orchestrator(database_url: str) -> Orchestrator:
    return _orchestrator(database_url, HashingEncoderResource())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "gates.md").write_text("# Gates\n\nA sluice lets a stream into a lake.\n")
    (folder / "page.html").write_text("<h1>Locks</h1><p>A lock lifts boats.</p>")
    return folder


def _ingest(orchestrator: Orchestrator, *paths: Path, **config: Any) -> ExecuteInProcessResult:
    run_config = {
        "ops": {"document_chunks": {"config": {"paths": [str(path) for path in paths], **config}}}
    }
    request = RunRequest(job_name="ingest_documents", run_config=run_config)
    return orchestrator.run(request, raise_on_error=False)


def _metadata(result: ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node("document_chunks")
    return {
        name: entry.records if isinstance(entry, TableMetadataValue) else entry.value
        for name, entry in materialization.metadata.items()
    }


def _chunks(database_url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT heading_path, content FROM document_chunks ORDER BY content"
        ).fetchall()


def test_documents_become_chunks_and_unchanged_ones_are_left_alone(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    first = _metadata(_ingest(orchestrator, folder))
    (folder / "page.html").write_text("<h1>Locks</h1><p>A lock lifts ships.</p>")
    second = _metadata(_ingest(orchestrator, folder))

    assert (first["documents_added"], first["documents_unreadable"]) == (2, 0)
    assert (second["documents_replaced"], second["documents_unchanged"]) == (1, 1)
    assert [content for _, content in _chunks(database_url)] == [
        "A lock lifts ships.",
        "A sluice lets a stream into a lake.",
    ]


def test_an_encrypted_pdf_is_named_and_the_rest_is_read(
    orchestrator: Orchestrator, folder: Path
) -> None:
    writer = PdfWriter()
    writer.add_blank_page(width=72, height=72)
    writer.encrypt("secret")
    writer.write(folder / "locked.pdf")

    result = _ingest(orchestrator, folder)

    assert result.success
    metadata = _metadata(result)
    assert (metadata["documents_added"], metadata["documents_unreadable"]) == (2, 1)
    (problem,) = metadata["unreadable"]
    assert problem.data["source"].endswith("locked.pdf")
    assert "encrypted" in problem.data["reason"]
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed


@pytest.mark.parametrize(
    ("name", "complaint"), [("missing", "No such file"), ("empty", "No documents were found")]
)
def test_paths_without_documents_fail_with_the_reason(
    orchestrator: Orchestrator, tmp_path: Path, name: str, complaint: str
) -> None:
    (tmp_path / "empty").mkdir()

    result = _ingest(orchestrator, tmp_path / name)

    failure = result.failure_data_for_node("document_chunks")
    assert failure is not None
    assert complaint in str(failure.error)


def test_progress_is_observed(orchestrator: Orchestrator, folder: Path) -> None:
    result = _ingest(orchestrator, folder)

    observations = result.get_asset_observation_events()
    last = observations[-1].asset_observation_data.asset_observation.metadata
    assert (last["files_done"].value, last["files_total"].value) == (2, 2)


def _failure(result: ExecuteInProcessResult) -> str:
    failure = result.failure_data_for_node("document_chunks")
    assert failure is not None
    return str(failure.error)


def _vectors(database_url: str) -> list[Any]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(
            "SELECT embedding_model, vector_dims(embedding), token_vectors IS NOT NULL"
            " FROM document_chunks"
        ).fetchall()


def test_chunks_have_vectors_and_the_run_tells_of_its_speed(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    metadata = _metadata(_ingest(orchestrator, folder))

    assert _vectors(database_url) == [("hashing", 256, True)] * 2
    assert (metadata["chunks_written"], metadata["chunks_embedded"]) == (2, 2)
    assert metadata["chunks_without_vectors"] == 0
    assert metadata["embedding_model"] == "hashing"
    assert metadata["chunk_max_tokens"] == 208
    assert metadata["chunks_per_second"] > 0
    stages = {name for name in metadata if name.startswith("seconds_")}
    assert stages == {f"seconds_{each}" for each in ("read", "chunk", "embed", "store", "index")}


def test_without_an_encoder_chunks_have_no_vectors(
    folder: Path, database_url: str, orchestrator: Orchestrator
) -> None:
    metadata = _metadata(_ingest(_orchestrator(database_url, None), folder))

    assert _vectors(database_url) == [(None, None, False)] * 2
    assert metadata["chunks_without_vectors"] == 2
    assert (metadata["embedding_model"], metadata["chunk_max_tokens"]) == ("none", 400)

    _ingest(orchestrator, folder)
    assert _vectors(database_url) == [("hashing", 256, True)] * 2


def test_token_vectors_are_not_kept_where_nothing_reranks(
    orchestrator: Orchestrator, folder: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRIEVAL_RERANK", "off")
    _ingest(orchestrator, folder)
    assert _vectors(database_url) == [("hashing", 256, False)] * 2


def test_an_encoder_of_another_model_is_refused(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    _ingest(orchestrator, folder)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE embedding_models SET name = 'another'")

    complaint = _failure(_ingest(orchestrator, folder))

    assert "the encoder serves 'hashing' (256 dimensions)" in complaint
    assert "the stored vectors are of 'another' (256 dimensions)" in complaint


def test_documents_whose_files_are_gone_go(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    _ingest(orchestrator, folder)
    (folder / "page.html").unlink()

    kept = _metadata(_ingest(orchestrator, folder, keep_missing=True))
    assert (kept["documents_removed"], len(_chunks(database_url))) == (0, 2)

    removed = _metadata(_ingest(orchestrator, folder))
    assert (removed["documents_removed"], removed["documents_unchanged"]) == (1, 1)
    assert removed["removed"][0].data == {"source": str(folder / "page.html")}
    assert len(_chunks(database_url)) == 1


def test_an_empty_folder_removes_nothing_by_itself(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    """It may be a disk that is not mounted."""
    _ingest(orchestrator, folder)
    for file in folder.iterdir():
        file.unlink()

    assert "name the paths under `remove`" in _failure(_ingest(orchestrator, folder))
    assert len(_chunks(database_url)) == 2

    removed = _metadata(_ingest(orchestrator, remove=[str(folder)]))
    assert removed["documents_removed"] == 2
    assert _chunks(database_url) == []


def test_attributes_are_kept_for_filters(
    orchestrator: Orchestrator, folder: Path, database_url: str
) -> None:
    _ingest(orchestrator, folder, attributes={"team": "hydro"})
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT DISTINCT attributes FROM documents").fetchall()
    assert rows == [({"team": "hydro"},)]
