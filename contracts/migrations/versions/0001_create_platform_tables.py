"""Create the platform's tables."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")
    op.create_table(
        "api_responses",
        sa.Column("response_id", sa.Text(), nullable=False),
        sa.Column("api_key_name", sa.Text(), server_default="", nullable=False),
        sa.Column("previous_response_id", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column(
            "request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "response", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("response_id", name=op.f("api_responses_pkey")),
    )
    op.create_index(
        op.f("ix_api_responses__expires_at"), "api_responses", ["expires_at"], unique=False
    )
    op.create_index(
        op.f("ix_api_responses__previous_response_id"),
        "api_responses",
        ["previous_response_id"],
        unique=False,
    )
    op.create_table(
        "chat_history",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_streaming", sa.Boolean(), nullable=False),
        sa.Column(
            "messages", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "answer", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "tools", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "parameters", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("total_tokens", sa.Integer(), nullable=True),
        sa.Column("is_usage_estimate", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("first_token_seconds", sa.Double(), nullable=True),
        sa.Column("source_chunk_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("api_key_name", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("chat_history_pkey")),
    )
    op.create_index(
        op.f("ix_chat_history__correlation_id"), "chat_history", ["correlation_id"], unique=False
    )
    op.create_index(
        op.f("ix_chat_history__occurred_at"), "chat_history", ["occurred_at"], unique=False
    )
    op.create_table(
        "chat_pairs",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column(
            "messages", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column(
            "tools", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("completion_tokens", sa.Integer(), nullable=True),
        sa.Column("total_tokens", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("chat_pairs_pkey")),
    )
    op.create_index(
        op.f("ix_chat_pairs__correlation_id"), "chat_pairs", ["correlation_id"], unique=False
    )
    op.create_index(
        "ix_chat_pairs__first_of_content",
        "chat_pairs",
        ["content_sha256", "occurred_at", "event_id"],
        unique=False,
    )
    op.create_index(op.f("ix_chat_pairs__occurred_at"), "chat_pairs", ["occurred_at"], unique=False)
    op.create_table(
        "compose_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("chunk_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("dropped_chunk_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("token_count", sa.Integer(), nullable=False),
        sa.Column("token_budget", sa.Integer(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("compose_events_pkey")),
    )
    op.create_index(
        op.f("ix_compose_events__correlation_id"),
        "compose_events",
        ["correlation_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_compose_events__occurred_at"), "compose_events", ["occurred_at"], unique=False
    )
    op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column(
            "headers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("dead_letter_id", name=op.f("dead_letters_pkey")),
        sa.UniqueConstraint(
            "stream",
            "stream_sequence",
            "published_at",
            name=op.f("uq_dead_letters__stream_stream_sequence_published_at"),
        ),
    )
    op.create_index(
        op.f("ix_dead_letters__recorded_at"), "dead_letters", ["recorded_at"], unique=False
    )
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column(
            "attributes",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("document_id", name=op.f("documents_pkey")),
    )
    op.create_index(op.f("ix_documents__collection"), "documents", ["collection"], unique=False)
    op.create_table(
        "embedding_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("input_count", sa.Integer(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("embedding_events_pkey")),
    )
    op.create_index(
        op.f("ix_embedding_events__correlation_id"),
        "embedding_events",
        ["correlation_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_embedding_events__occurred_at"), "embedding_events", ["occurred_at"], unique=False
    )
    op.create_table(
        "flow_lineage",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.Column(
            "stages", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("source_chunk_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("event_ids", sa.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("flow_lineage_pkey")),
    )
    op.create_index(
        op.f("ix_flow_lineage__correlation_id"), "flow_lineage", ["correlation_id"], unique=False
    )
    op.create_index(
        op.f("ix_flow_lineage__occurred_at"), "flow_lineage", ["occurred_at"], unique=False
    )
    op.create_table(
        "lake_watermarks",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("partition_day", sa.Date(), nullable=False),
        sa.Column("low_watermark", sa.DateTime(timezone=True), nullable=False),
        sa.Column("high_watermark", sa.DateTime(timezone=True), nullable=False),
        sa.Column("snapshot_id", sa.BigInteger(), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("table_name", "partition_day", name=op.f("lake_watermarks_pkey")),
    )
    op.create_table(
        "rerank_scores",
        sa.Column("query_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column(
            "scored_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint(
            "query_sha256", "chunk_id", "model", name=op.f("rerank_scores_pkey")
        ),
    )
    op.create_table(
        "retrieve_events",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("top_k", sa.Integer(), nullable=False),
        sa.Column("hit_count", sa.Integer(), nullable=False),
        sa.Column(
            "candidates", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("duration_seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("retrieve_events_pkey")),
    )
    op.create_index(
        op.f("ix_retrieve_events__correlation_id"),
        "retrieve_events",
        ["correlation_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_retrieve_events__occurred_at"), "retrieve_events", ["occurred_at"], unique=False
    )
    op.create_table(
        "tool_calls",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("schema_version", sa.SmallInteger(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("stream_sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("tool_call_id", sa.Text(), nullable=False),
        sa.Column("function_name", sa.Text(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("tool_calls_pkey")),
    )
    op.create_index(
        op.f("ix_tool_calls__correlation_id"), "tool_calls", ["correlation_id"], unique=False
    )
    op.create_index(
        op.f("ix_tool_calls__function_name"), "tool_calls", ["function_name"], unique=False
    )
    op.create_index(op.f("ix_tool_calls__occurred_at"), "tool_calls", ["occurred_at"], unique=False)
    op.create_table(
        "document_chunks",
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("collection", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("heading_path", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("headings", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("token_estimate", sa.Integer(), nullable=False),
        sa.Column(
            "search_vector",
            postgresql.TSVECTOR(),
            sa.Computed(
                "setweight(to_tsvector('english', headings), 'A')"
                " || setweight(to_tsvector('english', content), 'B')",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column("embedding", Vector(dim=256), nullable=True),
        sa.Column("embedding_model", sa.Text(), nullable=True),
        sa.Column("token_vectors", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.document_id"],
            name=op.f("fk_document_chunks__document_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("document_chunks_pkey")),
    )
    op.create_index(
        op.f("ix_document_chunks__collection"), "document_chunks", ["collection"], unique=False
    )
    op.create_index(
        op.f("ix_document_chunks__document_id"), "document_chunks", ["document_id"], unique=False
    )
    op.create_index(
        "ix_document_chunks__embedding",
        "document_chunks",
        ["embedding"],
        unique=False,
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 64},
        postgresql_ops={"embedding": "vector_cosine_ops"},
    )
    op.create_index(
        "ix_document_chunks__search_vector",
        "document_chunks",
        ["search_vector"],
        unique=False,
        postgresql_using="gin",
    )


def downgrade() -> None:
    op.drop_index(
        "ix_document_chunks__search_vector", table_name="document_chunks", postgresql_using="gin"
    )
    op.drop_index(
        "ix_document_chunks__embedding",
        table_name="document_chunks",
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 64},
        postgresql_ops={"embedding": "vector_cosine_ops"},
    )
    op.drop_index(op.f("ix_document_chunks__document_id"), table_name="document_chunks")
    op.drop_index(op.f("ix_document_chunks__collection"), table_name="document_chunks")
    op.drop_table("document_chunks")
    op.drop_index(op.f("ix_tool_calls__occurred_at"), table_name="tool_calls")
    op.drop_index(op.f("ix_tool_calls__function_name"), table_name="tool_calls")
    op.drop_index(op.f("ix_tool_calls__correlation_id"), table_name="tool_calls")
    op.drop_table("tool_calls")
    op.drop_index(op.f("ix_retrieve_events__occurred_at"), table_name="retrieve_events")
    op.drop_index(op.f("ix_retrieve_events__correlation_id"), table_name="retrieve_events")
    op.drop_table("retrieve_events")
    op.drop_table("rerank_scores")
    op.drop_table("lake_watermarks")
    op.drop_index(op.f("ix_flow_lineage__occurred_at"), table_name="flow_lineage")
    op.drop_index(op.f("ix_flow_lineage__correlation_id"), table_name="flow_lineage")
    op.drop_table("flow_lineage")
    op.drop_index(op.f("ix_embedding_events__occurred_at"), table_name="embedding_events")
    op.drop_index(op.f("ix_embedding_events__correlation_id"), table_name="embedding_events")
    op.drop_table("embedding_events")
    op.drop_index(op.f("ix_documents__collection"), table_name="documents")
    op.drop_table("documents")
    op.drop_index(op.f("ix_dead_letters__recorded_at"), table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_index(op.f("ix_compose_events__occurred_at"), table_name="compose_events")
    op.drop_index(op.f("ix_compose_events__correlation_id"), table_name="compose_events")
    op.drop_table("compose_events")
    op.drop_index(op.f("ix_chat_pairs__occurred_at"), table_name="chat_pairs")
    op.drop_index("ix_chat_pairs__first_of_content", table_name="chat_pairs")
    op.drop_index(op.f("ix_chat_pairs__correlation_id"), table_name="chat_pairs")
    op.drop_table("chat_pairs")
    op.drop_index(op.f("ix_chat_history__occurred_at"), table_name="chat_history")
    op.drop_index(op.f("ix_chat_history__correlation_id"), table_name="chat_history")
    op.drop_table("chat_history")
    op.drop_index(op.f("ix_api_responses__previous_response_id"), table_name="api_responses")
    op.drop_index(op.f("ix_api_responses__expires_at"), table_name="api_responses")
    op.drop_table("api_responses")
