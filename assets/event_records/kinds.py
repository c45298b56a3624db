"""Which event becomes which row: one `RecordKind` per event table."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Table

from assets.event_records.chat_text import text_of_answer, text_of_prompt
from assets.event_records.derived_rows import DerivedRows
from assets.event_records.rerank_scores import RERANK_SCORES
from contracts import payloads, tables
from contracts.events import Event
from contracts.subjects import PipelineSubject

Row = dict[str, Any]

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class RecordKind:
    """How events of one subject are persisted."""

    asset_name: str
    job_name: str
    subject: PipelineSubject
    table: Table
    payload_columns: Callable[[Any], Row | None]
    """Columns of the payload; None for an event that has no row here."""
    group: str
    description: str
    preview_columns: tuple[str, ...]
    needs_content: bool = False
    """No row for an event whose texts were withheld."""
    derived: DerivedRows | None = None
    """Rows of another table that these events bring too."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a batch writes; the others have defaults."""
        return tuple(column.name for column in self.table.columns if column.server_default is None)

    def row_of(self, event: Event[Any], stream_sequence: int) -> tuple[Any, ...] | None:
        """Return the values of `columns`, or None for an event that has no row here."""
        if self.needs_content and event.content_capture != "full":
            return None
        payload_columns = self.payload_columns(event.payload)
        if payload_columns is None:
            return None
        row: Row = {
            "event_id": event.event_id,
            "correlation_id": event.correlation_id,
            "occurred_at": event.occurred_at,
            "schema_version": event.schema_version,
            "traceparent": event.traceparent,
            "api_key_name": event.api_key_name,
            "content_capture": event.content_capture,
            "stream_sequence": stream_sequence,
            **payload_columns,
        }
        return self._values(row)

    @cached_property
    def _values(self) -> Callable[[Row], tuple[Any, ...]]:
        return itemgetter(*self.columns)


def _json(value: Any) -> str:
    return _encoder.encode(value).decode()


def _optional_json(value: Any) -> str | None:
    return None if value is None else _json(value)


def _usage_columns(usage: payloads.TokenUsage) -> Row:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _chat_history(chat: payloads.ChatPersist) -> Row:
    return {
        "dialect": chat.dialect,
        "model": chat.model,
        "backend": chat.backend,
        "status": chat.status,
        "is_streaming": chat.is_streaming,
        "messages": _json(chat.messages),
        "answer": _optional_json(chat.answer),
        "tools": _json(chat.tools),
        "parameters": _json(chat.parameters),
        "finish_reason": chat.finish_reason,
        "error": chat.error,
        **_usage_columns(chat.usage),
        "is_usage_estimate": chat.usage.is_estimate,
        "started_at": chat.started_at,
        "duration_seconds": chat.duration_seconds,
        "first_token_seconds": chat.first_token_seconds,
        "source_chunk_ids": chat.source_chunk_ids,
    }


def _chat_pair(chat: payloads.ChatPersist) -> Row | None:
    if chat.answer is None:
        return None
    conversation = [*chat.messages, chat.answer]
    tools = _json(chat.tools)
    messages = _json(conversation)
    return {
        "model": chat.model,
        "backend": chat.backend,
        "is_complete": chat.status == "completed",
        "messages": messages,
        "prompt": text_of_prompt(chat.messages),
        "response": text_of_answer(chat.answer),
        "tools": tools,
        "content_sha256": hashlib.sha256(f"{messages}\n{tools}".encode()).digest(),
        "finish_reason": chat.finish_reason,
        **_usage_columns(chat.usage),
    }


def _embedding(embedding: payloads.EmbeddingRequest) -> Row:
    return msgspec.structs.asdict(embedding)


def _retrieval(retrieval: payloads.Retrieval) -> Row:
    return {
        **msgspec.structs.asdict(retrieval),
        "hit_count": len(retrieval.candidates),
        "candidates": _json(retrieval.candidates),
    }


def _composition(composition: payloads.Composition) -> Row:
    return msgspec.structs.asdict(composition)


def _flow_lineage(flow: payloads.FlowLineage) -> Row:
    return {**msgspec.structs.asdict(flow), "stages": _json(flow.stages)}


def _tool_call(call: payloads.ToolCall) -> Row:
    return msgspec.structs.asdict(call)


CHAT_HISTORY = RecordKind(
    asset_name="chat_history",
    job_name="knowledge_chat_persist",
    subject=PipelineSubject.CHAT_PERSIST,
    table=tables.chat_history,
    payload_columns=_chat_history,
    group="conversations",
    description="Every call of a chat model: the conversation, the answer, its cost and outcome.",
    preview_columns=("occurred_at", "correlation_id", "model", "status", "total_tokens"),
)
CHAT_PAIR = RecordKind(
    asset_name="chat_pair_record",
    job_name="knowledge_chat_pair_materialize",
    subject=PipelineSubject.CHAT_PERSIST,
    table=tables.chat_pairs,
    payload_columns=_chat_pair,
    group="training",
    description="Prompt and response of each answered chat call, the raw material of fine-tuning.",
    preview_columns=("occurred_at", "correlation_id", "model", "prompt", "response"),
    needs_content=True,
)
EMBEDDING = RecordKind(
    asset_name="embedding_record",
    job_name="knowledge_embedding",
    subject=PipelineSubject.EMBEDDING,
    table=tables.embedding_events,
    payload_columns=_embedding,
    group="retrieval",
    description="Every call of an encoder: what kind of text, how many, how long.",
    preview_columns=("occurred_at", "correlation_id", "model", "kind", "input_count"),
)
RETRIEVE = RecordKind(
    asset_name="retrieve_record",
    job_name="knowledge_retrieve",
    subject=PipelineSubject.RETRIEVE,
    table=tables.retrieve_events,
    payload_columns=_retrieval,
    group="retrieval",
    description="Every search for passages, with all candidates and their scores.",
    preview_columns=("occurred_at", "query", "method", "status", "hit_count", "rerank_model"),
    derived=RERANK_SCORES,
)
COMPOSE = RecordKind(
    asset_name="compose_record",
    job_name="knowledge_compose",
    subject=PipelineSubject.COMPOSE,
    table=tables.compose_events,
    payload_columns=_composition,
    group="retrieval",
    description="Which passages were injected into which prompt, and their tokens.",
    preview_columns=("occurred_at", "correlation_id", "query", "token_count", "token_budget"),
)
FLOW_LINEAGE = RecordKind(
    asset_name="flow_lineage_record",
    job_name="knowledge_flow_lineage",
    subject=PipelineSubject.FLOW_LINEAGE,
    table=tables.flow_lineage,
    payload_columns=_flow_lineage,
    group="conversations",
    description="The way of each request through the gateway, stage by stage.",
    preview_columns=("occurred_at", "correlation_id", "model", "status", "duration_seconds"),
)
TOOL_CALL = RecordKind(
    asset_name="tool_call_record",
    job_name="knowledge_tool_call",
    subject=PipelineSubject.TOOL_CALL,
    table=tables.tool_calls,
    payload_columns=_tool_call,
    group="conversations",
    description="Every tool call in an answer: which function, by which model.",
    preview_columns=("occurred_at", "correlation_id", "function_name", "model", "arguments"),
)

RECORD_KINDS = (CHAT_HISTORY, CHAT_PAIR, EMBEDDING, RETRIEVE, COMPOSE, FLOW_LINEAGE, TOOL_CALL)
