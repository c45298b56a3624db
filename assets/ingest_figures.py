"""What an ingest came to, as a person wants to see it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy
from dagster import MetadataValue, TableRecord
from sqlalchemy import func, select

from contracts.tables import document_chunks, documents
from resources.postgres import PostgresResource

_PREVIEW_ROWS = 10
_SHOWN_FILES = 100


@dataclass
class IngestOutcome:
    """What an ingest came to, by document."""

    outcomes: Counter[str] = field(default_factory=Counter)
    chunk_count: int = 0
    """Chunks of all documents that were given."""
    new_chunk_count: int = 0
    """Chunks that were written."""
    embedded_count: int = 0
    embedding_model: str | None = None
    max_tokens: int = 0
    """Of a chunk."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(source, reason) of files that could not be read or embedded."""
    removed: list[str] = field(default_factory=list)
    """Sources of documents that were deleted."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Spent in each stage."""

    @property
    def done(self) -> int:
        return self.outcomes.total() + len(self.problems)


def figures_of(outcome: IngestOutcome, postgres: PostgresResource) -> dict[str, MetadataValue]:
    """Return the materialization's metadata."""
    with postgres.begin() as connection:
        row_count, vector_count = connection.execute(
            select(func.count(), func.count(document_chunks.c.embedding))
        ).one()
        newest = connection.execute(
            select(
                documents.c.title,
                documents.c.source,
                documents.c.collection,
                documents.c.chunk_count,
            )
            .order_by(sqlalchemy.desc(documents.c.ingested_at))
            .limit(_PREVIEW_ROWS)
        ).all()
    total_seconds = sum(outcome.seconds.values())
    rate = outcome.new_chunk_count / total_seconds if total_seconds else 0.0
    return {
        "dagster/row_count": MetadataValue.int(row_count),
        "documents_added": MetadataValue.int(outcome.outcomes["added"]),
        "documents_replaced": MetadataValue.int(outcome.outcomes["replaced"]),
        "documents_unchanged": MetadataValue.int(outcome.outcomes["unchanged"]),
        "documents_unreadable": MetadataValue.int(len(outcome.problems)),
        "documents_removed": MetadataValue.int(len(outcome.removed)),
        "chunks_of_these_documents": MetadataValue.int(outcome.chunk_count),
        "chunks_written": MetadataValue.int(outcome.new_chunk_count),
        "chunks_embedded": MetadataValue.int(outcome.embedded_count),
        "chunks_without_vectors": MetadataValue.int(row_count - vector_count),
        "chunks_per_second": MetadataValue.float(round(rate, 1)),
        "chunk_max_tokens": MetadataValue.int(outcome.max_tokens),
        "embedding_model": MetadataValue.text(outcome.embedding_model or "none"),
        **{
            f"seconds_{stage}": MetadataValue.float(round(seconds, 3))
            for stage, seconds in outcome.seconds.items()
        },
        "preview": _table([dict(row._mapping) for row in newest]),
        "unreadable": unreadable_table(outcome),
        "removed": _table([{"source": source} for source in outcome.removed]),
    }


def unreadable_table(outcome: IngestOutcome) -> MetadataValue:
    """Return the files that were left out, and why."""
    return _table([{"source": source, "reason": reason} for source, reason in outcome.problems])


def _table(records: Sequence[Mapping[str, Any]]) -> MetadataValue:
    if not records:
        return MetadataValue.text("none")
    return MetadataValue.table([TableRecord(each) for each in records[:_SHOWN_FILES]])
