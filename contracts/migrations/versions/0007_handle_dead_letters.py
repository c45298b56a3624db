"""Keep a dead letter per consumer, let it be dropped, and remember erasures."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ONE_PER_MESSAGE = "uq_dead_letters__stream_stream_sequence_published_at"
_ONE_PER_CONSUMER = f"{_ONE_PER_MESSAGE}_consumer"


def upgrade() -> None:
    op.drop_constraint(_ONE_PER_MESSAGE, "dead_letters")
    op.create_unique_constraint(
        _ONE_PER_CONSUMER,
        "dead_letters",
        ["stream", "stream_sequence", "published_at", "consumer"],
    )
    op.add_column("dead_letters", sa.Column("dropped_at", sa.DateTime(timezone=True)))
    op.create_table(
        "erasure_requests",
        sa.Column("erasure_id", sa.Uuid(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("lake_erased_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("erasure_requests_pkey")),
    )
    op.create_index(
        op.f("ix_erasure_requests__subject_kind_subject"),
        "erasure_requests",
        ["subject_kind", "subject"],
    )


def downgrade() -> None:
    op.drop_table("erasure_requests")
    op.drop_column("dead_letters", "dropped_at")
    op.drop_constraint(_ONE_PER_CONSUMER, "dead_letters")
    op.create_unique_constraint(
        _ONE_PER_MESSAGE, "dead_letters", ["stream", "stream_sequence", "published_at"]
    )
