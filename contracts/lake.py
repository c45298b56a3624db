"""Which tables have their history in the lake, and in what shape.

A lake table has the columns of its PostgreSQL table, so a column added there is one added here.
IDs are text there, hashes hexadecimal text: every engine compares and joins text alike. JSON of a
closed shape becomes lists and structs; what a client may shape as it likes stays JSON, verbatim.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import Column, Table

from contracts import tables

NAMESPACE = "sluice"
"""Of the lake tables in the catalog."""

JsonShape: TypeAlias = "str | list[JsonShape] | dict[str, JsonShape]"
"""As DuckDB's `from_json` takes it: `VARCHAR`, `BIGINT` or `DOUBLE`, in lists of one and structs.

https://duckdb.org/docs/stable/data/json/json_functions#transforming-json-to-nested-types
"""

_MESSAGES: JsonShape = [
    {
        "role": "VARCHAR",
        "content": "VARCHAR",
        "reasoning_content": "VARCHAR",
        "name": "VARCHAR",
        "tool_calls": "VARCHAR",
        "tool_call_id": "VARCHAR",
    }
]
_CANDIDATES: JsonShape = [
    {
        "chunk_id": "VARCHAR",
        "rank": "BIGINT",
        "vector_score": "DOUBLE",
        "text_score": "DOUBLE",
        "fused_score": "DOUBLE",
        "maxsim_score": "DOUBLE",
    }
]
_STAGES: JsonShape = [
    {
        "name": "VARCHAR",
        "offset_seconds": "DOUBLE",
        "duration_seconds": "DOUBLE",
        "status": "VARCHAR",
        "details": "VARCHAR",
    }
]


@dataclass(frozen=True)
class LakeTable:
    """A PostgreSQL table whose rows are appended to an Iceberg table of the same name."""

    source: Table
    description: str
    source_asset: str
    """Name of the asset that writes `source`."""
    moment: str = "occurred_at"
    """Column whose UTC day is the row's partition. It never changes."""
    key: tuple[str, ...] = ("event_id",)
    """Columns that, with the moment, are unique."""
    shapes: Mapping[str, JsonShape] = field(default_factory=dict)
    """JSON columns of a closed shape."""
    left_out: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.source.name

    @cached_property
    def columns(self) -> tuple[Column[Any], ...]:
        return tuple(each for each in self.source.columns if each.name not in self.left_out)


LAKE_TABLES: tuple[LakeTable, ...] = (
    LakeTable(
        tables.chat_history,
        "Every call of a chat model; the conversation and the answer as JSON, verbatim.",
        source_asset="chat_history",
    ),
    LakeTable(
        tables.chat_pairs,
        "Prompt and response of each answered chat call, its messages as structs.",
        source_asset="chat_pair_record",
        shapes={"messages": _MESSAGES},
    ),
    LakeTable(
        tables.embedding_events,
        "Every call of an encoder.",
        source_asset="embedding_record",
    ),
    LakeTable(
        tables.retrieve_events,
        "Every search for passages, its candidates and their scores as structs.",
        source_asset="retrieve_record",
        shapes={"candidates": _CANDIDATES},
    ),
    LakeTable(
        tables.compose_events,
        "Which passages were injected into which prompt.",
        source_asset="compose_record",
    ),
    LakeTable(
        tables.flow_lineage,
        "The way of each request through the gateway, its stages as structs.",
        source_asset="flow_lineage_record",
        shapes={"stages": _STAGES},
    ),
    LakeTable(
        tables.tool_calls,
        "Every tool call in an answer.",
        source_asset="tool_call_record",
    ),
    LakeTable(
        tables.document_chunks,
        "Every chunk that an ingest added, without its text and vectors; a chunk that came back"
        " has a row for each time.",
        source_asset="document_chunks",
        moment="added_at",
        key=("chunk_id",),
        left_out=frozenset(
            {"headings", "content", "search_vector", "embedding", "token_vectors"},
        ),
    ),
    LakeTable(
        tables.rerank_scores,
        "MaxSim scores of query and chunk, by model; a score that was renewed has a row for each"
        " batch that saw another.",
        source_asset="rerank_scores",
        moment="scored_at",
        key=("query_sha256", "chunk_id", "model"),
    ),
)
