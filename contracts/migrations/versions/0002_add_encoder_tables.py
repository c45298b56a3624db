"""Add what an encoder brings: its models, re-embedding, evaluations, provenance of scores."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embedding_models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("token_dimensions", sa.Integer(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column(
            "activated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("embedding_models_pkey")),
    )
    op.create_index(
        "uq_embedding_models__active",
        "embedding_models",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "chunk_reembeddings",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("chunk_id", sa.Uuid(), nullable=False),
        sa.Column("embedding", Vector(), nullable=False),
        sa.Column("token_vectors", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("model", "chunk_id", name=op.f("chunk_reembeddings_pkey")),
    )
    op.create_table(
        "retrieval_evaluations",
        sa.Column("evaluation_id", sa.Uuid(), nullable=False),
        sa.Column("corpus", sa.Text(), nullable=False),
        sa.Column("query_set", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("query_count", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=True),
        sa.Column(
            "settings",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            nullable=False,
        ),
        sa.Column(
            "evaluated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint(
            "evaluation_id",
            "corpus",
            "query_set",
            "stage",
            "metric",
            name=op.f("retrieval_evaluations_pkey"),
        ),
    )
    op.create_index(
        op.f("ix_retrieval_evaluations__evaluated_at"), "retrieval_evaluations", ["evaluated_at"]
    )
    op.add_column(
        "retrieve_events", sa.Column("status", sa.Text(), server_default="ok", nullable=False)
    )
    op.alter_column("retrieve_events", "status", server_default=None)
    op.add_column("retrieve_events", sa.Column("error", sa.Text(), nullable=True))
    op.add_column("retrieve_events", sa.Column("embedding_model", sa.Text(), nullable=True))
    op.add_column("retrieve_events", sa.Column("rerank_model", sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("rerank_model", "embedding_model", "error", "status"):
        op.drop_column("retrieve_events", column)
    op.drop_table("retrieval_evaluations")
    op.drop_table("chunk_reembeddings")
    op.drop_table("embedding_models")
