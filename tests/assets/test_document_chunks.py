"""Ingest as a materialization, into the real database."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagster import ExecuteInProcessResult, RunRequest, TableMetadataValue
from pypdf import PdfWriter

from tests.support.dagster_runs import Orchestrator


@pytest.fixture
def orchestrator(database_url: str) -> Orchestrator:
    return Orchestrator(database_url=database_url, nats_url="nats://127.0.0.1:1")


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
