"""Documents, cut into chunks that retrieval searches."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetObservation,
    AssetSelection,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
    asset,
    define_asset_job,
    in_process_executor,
)
from pydantic import Field
from sqlalchemy import func, select

from assets.sources import DOCUMENT_FILES_KEY
from contracts.tables import document_chunks as chunks_table
from contracts.tables import documents as documents_table
from resources.postgres import PostgresResource

_PROGRESS_INTERVAL_SECONDS = 0.5
_PREVIEW_ROWS = 10
_SHOWN_PROBLEMS = 100

INGEST_JOB = "ingest_documents"
ALL_READABLE = "all_documents_readable"


class IngestConfig(Config):
    """Which files become chunks of which collection."""

    paths: list[str] = Field(
        default_factory=list, description="Files and folders on the code location's host."
    )
    collection: str = Field(default="default", min_length=1)
    max_tokens: int = Field(default=400, ge=50, le=4000, description="Tokens of a chunk, at most.")


@dataclass
class IngestOutcome:
    """What an ingest came to, by document."""

    outcomes: Counter[str] = field(default_factory=Counter)
    chunk_count: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(source, reason) of files that could not be read."""

    @property
    def done(self) -> int:
        return self.outcomes.total() + len(self.problems)


@asset(
    deps=[DOCUMENT_FILES_KEY],
    group_name="documents",
    description=(
        "Passages of the ingested documents, cut along headings, with full-text search. An"
        " unchanged document is left alone, a changed one replaces its chunks."
    ),
    kinds={"postgres"},
    owners=["team:data-platform"],
    check_specs=[
        AssetCheckSpec(
            ALL_READABLE,
            asset="document_chunks",
            description="Every file found under the paths could be read.",
        )
    ],
)
def document_chunks(
    context: AssetExecutionContext, config: IngestConfig, postgres: PostgresResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Read the files under `paths` and store each in a transaction of its own."""
    files = _find_files(config)
    outcome = IngestOutcome()
    reported_at = 0.0
    for _ in _ingest(files, config, postgres, outcome):
        is_last = outcome.done == len(files)
        if is_last or time.monotonic() - reported_at > _PROGRESS_INTERVAL_SECONDS:
            context.log_event(_progress(outcome, len(files)))
            reported_at = time.monotonic()
    for source, reason in outcome.problems:
        context.log.warning(f"{source} was left out: {reason}")
    if not outcome.outcomes:
        raise Failure(
            f"None of the {len(files)} files could be read.",
            metadata={"unreadable": _problem_table(outcome)},
        )
    return MaterializeResult(
        metadata={**_figures(outcome, postgres), "unreadable": _problem_table(outcome)},
        check_results=[
            AssetCheckResult(
                check_name=ALL_READABLE,
                passed=not outcome.problems,
                severity=AssetCheckSeverity.WARN,
                metadata={"unreadable": len(outcome.problems)},
            )
        ],
    )


ingest_job = define_asset_job(
    INGEST_JOB,
    selection=AssetSelection.assets("document_chunks"),
    description="Reads documents into `document_chunks`; `sluice ingest` launches it.",
    executor_def=in_process_executor,
)


def _find_files(config: IngestConfig) -> list[Path]:
    from knowledge.documents import find_documents

    missing = [path for path in config.paths if not Path(path).exists()]
    if missing:
        raise Failure(f"No such file or folder: {', '.join(missing)}")
    files = list(find_documents([Path(path) for path in config.paths]))
    if not files:
        raise Failure(
            "No documents were found. Launch the run with `paths` that hold Markdown, text,"
            " HTML or PDF files."
        )
    return files


def _ingest(
    files: list[Path], config: IngestConfig, postgres: PostgresResource, outcome: IngestOutcome
) -> Iterator[None]:
    """Store one file after another, noting each in `outcome`, and pause after each."""
    from knowledge.chunking import chunk_document
    from knowledge.document_store import refresh_statistics, store_document
    from knowledge.documents import UnreadableDocument, load_document

    with postgres.connect() as connection:
        for file in files:
            source = str(file)
            try:
                document = load_document(file, source=source)
            except UnreadableDocument as error:
                outcome.problems.append((source, str(error)))
            else:
                chunks = chunk_document(document, max_tokens=config.max_tokens)
                with connection.begin():
                    result = store_document(
                        connection, document, chunks, collection=config.collection
                    )
                outcome.outcomes[result.outcome] += 1
                outcome.chunk_count += result.chunk_count
            yield
        with connection.begin():
            refresh_statistics(connection)


def _progress(outcome: IngestOutcome, total: int) -> AssetObservation:
    return AssetObservation(
        asset_key="document_chunks",
        description=f"{outcome.done} of {total} files",
        metadata={"files_done": outcome.done, "files_total": total},
    )


def _figures(outcome: IngestOutcome, postgres: PostgresResource) -> dict[str, MetadataValue]:
    with postgres.begin() as connection:
        row_count = connection.scalar(select(func.count()).select_from(chunks_table)) or 0
        newest = connection.execute(
            select(
                documents_table.c.title,
                documents_table.c.source,
                documents_table.c.collection,
                documents_table.c.chunk_count,
            )
            .order_by(sqlalchemy.desc(documents_table.c.ingested_at))
            .limit(_PREVIEW_ROWS)
        ).all()
    return {
        "dagster/row_count": MetadataValue.int(row_count),
        "documents_added": MetadataValue.int(outcome.outcomes["added"]),
        "documents_replaced": MetadataValue.int(outcome.outcomes["replaced"]),
        "documents_unchanged": MetadataValue.int(outcome.outcomes["unchanged"]),
        "documents_unreadable": MetadataValue.int(len(outcome.problems)),
        "chunks_of_these_documents": MetadataValue.int(outcome.chunk_count),
        "preview": MetadataValue.table([TableRecord(dict(row._mapping)) for row in newest]),
    }


def _problem_table(outcome: IngestOutcome) -> MetadataValue:
    if not outcome.problems:
        return MetadataValue.text("none")
    return MetadataValue.table(
        [
            TableRecord({"source": source, "reason": reason})
            for source, reason in outcome.problems[:_SHOWN_PROBLEMS]
        ]
    )
