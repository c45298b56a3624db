"""The platform's PostgreSQL tables, as SQLAlchemy Core. Moments are UTC, durations seconds.

Alembic's migrations in `contracts/migrations` create them; a test holds the two together.
"""

from typing import Any

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Computed,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    cast,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.types import UserDefinedType

EMBEDDING_DIMENSIONS = 256

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "ix_%(table_name)s__%(column_0_N_name)s",
        "uq": "uq_%(table_name)s__%(column_0_N_name)s",
        "fk": "fk_%(table_name)s__%(column_0_N_name)s",
    }
)


class JsonText(UserDefinedType[str]):
    """JSON that goes in and comes out as text, byte for byte: nothing decodes it on the way.

    Unlike JSONB, the type `json` takes texts with escaped NULs, which models do write.
    """

    cache_ok = True

    def get_col_spec(self, **_options: Any) -> str:
        return "JSON"

    def bind_expression(self, bindvalue: BindParameter[str]) -> ColumnElement[str]:
        return cast(bindvalue, JSON)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[str]:
        return cast(column, Text)


def _moment(name: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), **options)


TRANSACTION_ID = "transaction_id"


def _transaction_id() -> Column[Any]:
    """The transaction that wrote the row, by which the lake tells what it has not moved yet.

    Unlike a sequence or a clock, transaction IDs say what is still to come: whatever commits later
    has an ID of at least `pg_snapshot_xmin(pg_current_snapshot())`. A BRIN index over the column
    costs an insert next to nothing.
    """
    return Column(
        TRANSACTION_ID,
        BigInteger,
        nullable=False,
        server_default=text("((pg_current_xact_id())::text)::bigint"),
    )


def _index_transactions(*indexed: Table) -> None:
    for table in indexed:
        Index(
            f"ix_{table.name}__{TRANSACTION_ID}",
            table.c[TRANSACTION_ID],
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )


def _event_table(name: str, *columns: Column[Any] | Index) -> Table:
    """A table of one kind of event: the envelope's columns, then the payload's."""
    return Table(
        name,
        metadata,
        Column("event_id", Uuid, primary_key=True),
        Column("correlation_id", Text, nullable=False, index=True),
        _moment("occurred_at", nullable=False, index=True),
        Column("schema_version", SmallInteger, nullable=False),
        Column("traceparent", Text),
        Column("api_key_name", Text),
        Column("content_capture", Text, nullable=False),
        Column("stream_sequence", BigInteger, nullable=False),
        _moment("ingested_at", nullable=False, server_default=func.now()),
        *columns,
        _transaction_id(),
    )


def _json(name: str, **options: Any) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), **options)


def _usage_columns() -> tuple[Column[Any], ...]:
    return (
        Column("prompt_tokens", Integer),
        Column("completion_tokens", Integer),
        Column("total_tokens", Integer),
    )


chat_history = _event_table(
    "chat_history",
    Column("dialect", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("is_streaming", Boolean, nullable=False),
    _json("messages", nullable=False),
    _json("answer"),
    _json("tools", nullable=False),
    _json("parameters", nullable=False),
    Column("finish_reason", Text),
    Column("error", Text),
    *_usage_columns(),
    Column("is_usage_estimate", Boolean, nullable=False),
    _moment("started_at", nullable=False),
    Column("duration_seconds", Double, nullable=False),
    Column("first_token_seconds", Double),
    Column("source_chunk_ids", ARRAY(Text), nullable=False),
)

chat_pairs = _event_table(
    "chat_pairs",
    Column("model", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    _json("messages", nullable=False),
    Column("prompt", Text, nullable=False),
    Column("response", Text, nullable=False),
    _json("tools", nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("finish_reason", Text),
    *_usage_columns(),
)
Index(
    "ix_chat_pairs__first_of_content",
    chat_pairs.c.content_sha256,
    chat_pairs.c.occurred_at,
    chat_pairs.c.event_id,
)
Index(
    "ix_chat_pairs__stream_sequence",
    chat_pairs.c.stream_sequence,
    postgresql_using="brin",
    postgresql_with={"autosummarize": "on"},
)

embedding_events = _event_table(
    "embedding_events",
    Column("model", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("input_count", Integer, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("duration_seconds", Double, nullable=False),
    Column("prompt_tokens", Integer),
)

retrieve_events = _event_table(
    "retrieve_events",
    Column("query", Text, nullable=False),
    Column("collection", Text),
    Column("method", Text, nullable=False),
    Column("top_k", Integer, nullable=False),
    Column("hit_count", Integer, nullable=False),
    _json("candidates", nullable=False),
    Column("duration_seconds", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("embedding_model", Text),
    Column("rerank_model", Text),
)

compose_events = _event_table(
    "compose_events",
    Column("query", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("chunk_ids", ARRAY(Text), nullable=False),
    Column("dropped_chunk_ids", ARRAY(Text), nullable=False),
    Column("token_count", Integer, nullable=False),
    Column("token_budget", Integer, nullable=False),
    Column("duration_seconds", Double, nullable=False),
)

flow_lineage = _event_table(
    "flow_lineage",
    Column("dialect", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("status", Text, nullable=False),
    _moment("started_at", nullable=False),
    Column("duration_seconds", Double, nullable=False),
    _json("stages", nullable=False),
    Column("source_chunk_ids", ARRAY(Text), nullable=False),
    Column("event_ids", ARRAY(Text), nullable=False),
)

tool_calls = _event_table(
    "tool_calls",
    Column("tool_call_id", Text, nullable=False),
    Column("function_name", Text, nullable=False, index=True),
    Column("arguments", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("backend", Text, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("dead_letter_id", BigInteger, Identity(), primary_key=True),
    Column("stream", Text, nullable=False),
    Column("stream_sequence", BigInteger, nullable=False),
    _moment("published_at", nullable=False),
    Column("subject", Text, nullable=False),
    Column("consumer", Text, nullable=False),
    _json("headers", nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    _moment("recorded_at", nullable=False, server_default=func.now(), index=True),
    _moment("replayed_at"),
    _moment("dropped_at"),
    # A stream that was made anew counts from 1 again: the moment tells its messages apart.
    UniqueConstraint("stream", "stream_sequence", "published_at", "consumer"),
)
"""Messages that a consumer could not persist; open until they are replayed or dropped."""

erasure_requests = Table(
    "erasure_requests",
    metadata,
    Column("erasure_id", Uuid, primary_key=True),
    Column("subject_kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _moment("requested_at", nullable=False, server_default=func.now()),
    Column("row_count", BigInteger, nullable=False),
    _moment("lake_erased_at"),
)
"""Subjects whose events up to `requested_at` are erased here, and are to be in the lake.

`subject_kind` names the events' column that holds the subject: `correlation_id` or
`api_key_name`. A batch leaves their events out, should they come again.
"""
Index(
    "ix_erasure_requests__subject_kind_subject",
    erasure_requests.c.subject_kind,
    erasure_requests.c.subject,
)

documents = Table(
    "documents",
    metadata,
    Column("document_id", Uuid, primary_key=True),
    Column("collection", Text, nullable=False, index=True),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("content_sha256", LargeBinary, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    _json("attributes", nullable=False, server_default=text("'{}'::jsonb")),
    _moment("ingested_at", nullable=False, server_default=func.now()),
    # Of the file and of everything that its chunks follow from: the same again changes nothing.
    Column("ingest_fingerprint", LargeBinary),
    # The ID follows from collection and source, so a second unique key would say nothing new;
    # it would only make two writers of one document fail where they are to take turns.
)

document_chunks = Table(
    "document_chunks",
    metadata,
    Column("chunk_id", Uuid, primary_key=True),
    Column(
        "document_id",
        Uuid,
        ForeignKey("documents.document_id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("collection", Text, nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("heading_path", ARRAY(Text), nullable=False),
    Column("headings", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("token_estimate", Integer, nullable=False),
    Column(
        "search_vector",
        TSVECTOR,
        Computed(
            "setweight(to_tsvector('english', headings), 'A')"
            " || setweight(to_tsvector('english', content), 'B')",
            persisted=True,
        ),
        nullable=False,
    ),
    Column("embedding", Vector(EMBEDDING_DIMENSIONS)),
    Column("embedding_model", Text),
    Column("token_vectors", LargeBinary),
    _moment("added_at", nullable=False, server_default=func.now()),
    _transaction_id(),
)
Index(
    "ix_document_chunks__search_vector",
    document_chunks.c.search_vector,
    postgresql_using="gin",
)
Index(
    "ix_document_chunks__embedding",
    document_chunks.c.embedding,
    postgresql_using="hnsw",
    postgresql_with={"m": 16, "ef_construction": 200},
    postgresql_ops={"embedding": "vector_cosine_ops"},
)

embedding_models = Table(
    "embedding_models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("dimensions", Integer, nullable=False),
    Column("token_dimensions", Integer),
    Column("is_active", Boolean, nullable=False),
    _moment("activated_at", nullable=False, server_default=func.now()),
)
"""Models whose vectors are or were in `document_chunks`; those of the active one are there now."""
Index(
    "uq_embedding_models__active",
    embedding_models.c.is_active,
    unique=True,
    postgresql_where=embedding_models.c.is_active,
)

chunk_reembeddings = Table(
    "chunk_reembeddings",
    metadata,
    Column("model", Text, primary_key=True),
    Column("chunk_id", Uuid, primary_key=True),
    Column("embedding", Vector(), nullable=False),
    Column("token_vectors", LargeBinary),
)
"""Vectors of a model that is to become the active one, while the old ones still serve."""

retrieval_evaluations = Table(
    "retrieval_evaluations",
    metadata,
    Column("evaluation_id", Uuid, primary_key=True),
    Column("corpus", Text, primary_key=True),
    Column("query_set", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("value", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("query_count", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("embedding_model", Text),
    _json("settings", nullable=False),
    _moment("evaluated_at", nullable=False, server_default=func.now(), index=True),
)
"""Figures of each stage of retrieval, with the bounds of their 95 % confidence intervals."""

rerank_scores = Table(
    "rerank_scores",
    metadata,
    Column("query_sha256", LargeBinary, primary_key=True),
    Column("chunk_id", Uuid, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("score", Double, nullable=False),
    _moment("scored_at", nullable=False, server_default=func.now()),
    _transaction_id(),
)

api_responses = Table(
    "api_responses",
    metadata,
    Column("response_id", Text, primary_key=True),
    # Empty for clients without a key, whom only loopback lets in.
    Column("api_key_name", Text, nullable=False, server_default=""),
    Column("previous_response_id", Text),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("input_items", JsonText, nullable=False),
    Column("response", JsonText, nullable=False),
    Column("item_ids", ARRAY(Text), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    _moment("created_at", nullable=False, server_default=func.now()),
    _moment("expires_at", nullable=False, index=True),
    Index(None, "api_key_name", "expires_at"),
)
"""Responses that clients may come back to. The gateway reads and writes this table."""
Index(
    "ix_api_responses__item_ids",
    api_responses.c.item_ids,
    postgresql_using="gin",
)

lake_watermarks = Table(
    "lake_watermarks",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("partition_day", Date, primary_key=True),
    # Of a table that was dropped and made anew, the old one's watermarks say nothing.
    Column("table_uuid", Uuid, nullable=False),
    Column("low_watermark", BigInteger, nullable=False),
    Column("high_watermark", BigInteger, nullable=False),
    Column("snapshot_id", BigInteger),
    Column("row_count", BigInteger, nullable=False),
    _moment("recorded_at", nullable=False, server_default=func.now()),
)
"""The last interval of transaction IDs, low ≤ ID < high, of which a day's rows are in the lake.

The snapshots of the Iceberg table say the same, and prevail: this is what is looked up cheaply.
"""

lake_scans = Table(
    "lake_scans",
    metadata,
    Column("table_name", Text, primary_key=True),
    Column("scanned_below", BigInteger, nullable=False),
    _moment("recorded_at", nullable=False, server_default=func.now()),
)
"""The transaction ID below which all rows are known to be in the lake, whatever their day."""

EVENT_TABLES: tuple[Table, ...] = (
    chat_history,
    chat_pairs,
    embedding_events,
    retrieve_events,
    compose_events,
    flow_lineage,
    tool_calls,
)

_index_transactions(*EVENT_TABLES, rerank_scores, document_chunks)
