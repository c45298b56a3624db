"""`sluice ingest`: launches the Dagster job that reads documents, and follows it."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sluice.dagster_api import RunFailed, ask, explain, launch

_POLL_SECONDS = 0.4
_JOB = "ingest_documents"

_FOLLOW = """
query Follow($run: ID!, $cursor: String) {
  logsForRun(runId: $run, afterCursor: $cursor) {
    ... on EventConnection {
      cursor
      events {
        __typename
        ... on ObservationEvent { metadataEntries { label ... on IntMetadataEntry { intValue } } }
        ... on MaterializationEvent {
          metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on FloatMetadataEntry { floatValue }
            ... on TextMetadataEntry { text }
            ... on TableMetadataEntry { table { records } }
          }
        }
        ... on ExecutionStepFailureEvent { error { message } }
        ... on RunFailureEvent { message error { message } }
      }
    }
  }
  runOrError(runId: $run) { ... on Run { status } }
}
"""


@dataclass(frozen=True)
class Progress:
    """How far the job is."""

    files_done: int
    files_total: int


@dataclass(frozen=True)
class Summary:
    """What the job came to."""

    run_id: str
    added: int
    replaced: int
    unchanged: int
    removed: int
    chunks_written: int
    chunks_per_second: float
    embedding_model: str
    """`none` where the chunks have no vectors."""
    unreadable: Sequence[tuple[str, str]]
    """(file, reason)"""


def ingest(
    dagster_url: str,
    paths: Sequence[Path],
    *,
    collection: str,
    attributes: Mapping[str, str] | None = None,
    keep_missing: bool = False,
) -> Iterator[Progress | Summary]:
    """Launch the job for `paths`; yield its progress, then its summary.

    Args:
        attributes: given to every document.
        keep_missing: whether documents that lay under the folders and are gone are to stay.

    Raises:
        RunFailed: Dagster does not answer, refuses, or the job failed.
    """
    config = {
        "paths": _absolute(paths),
        "collection": collection,
        "attributes": dict(attributes or {}),
        "keep_missing": keep_missing,
    }
    return _follow(dagster_url, launch(dagster_url, _JOB, _run_config(config)))


def remove(
    dagster_url: str, paths: Sequence[Path], *, collection: str
) -> Iterator[Progress | Summary]:
    """Launch the job that deletes the documents of `paths`; yield its summary.

    Raises:
        RunFailed: Dagster does not answer, refuses, or the job failed.
    """
    config = {"remove": _absolute(paths), "collection": collection}
    return _follow(dagster_url, launch(dagster_url, _JOB, _run_config(config)))


def _run_config(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"ops": {"document_chunks": {"config": config}}}


def _absolute(paths: Sequence[Path]) -> list[str]:
    return [str(path.resolve()) for path in paths]


def _follow(dagster_url: str, run_id: str) -> Iterator[Progress | Summary]:
    cursor = None
    failures: list[dict[str, Any]] = []
    summary = None
    while True:
        answer = ask(dagster_url, _FOLLOW, {"run": run_id, "cursor": cursor})
        cursor = answer["logsForRun"]["cursor"]
        for event in answer["logsForRun"]["events"]:
            entries = {each["label"]: each for each in event.get("metadataEntries", ())}
            if event["__typename"] == "ObservationEvent":
                yield Progress(
                    entries["files_done"]["intValue"], entries["files_total"]["intValue"]
                )
            elif event["__typename"] == "MaterializationEvent":
                summary = _summary(run_id, entries)
            elif event.get("error"):
                failures.append(event)
        status = answer["runOrError"]["status"]
        if status in ("FAILURE", "CANCELED"):
            raise RunFailed(f"run {run_id} failed: {explain(failures) or status}")
        if status == "SUCCESS" and summary is not None:
            yield summary
            return
        time.sleep(_POLL_SECONDS)


def _summary(run_id: str, entries: dict[str, Any]) -> Summary:
    table = entries["unreadable"].get("table")
    records = [msgspec.json.decode(each) for each in table["records"]] if table else []
    return Summary(
        run_id=run_id,
        added=entries["documents_added"]["intValue"],
        replaced=entries["documents_replaced"]["intValue"],
        unchanged=entries["documents_unchanged"]["intValue"],
        removed=entries["documents_removed"]["intValue"],
        chunks_written=entries["chunks_written"]["intValue"],
        chunks_per_second=entries["chunks_per_second"]["floatValue"],
        embedding_model=entries["embedding_model"]["text"],
        unreadable=[(each["source"], each["reason"]) for each in records],
    )
