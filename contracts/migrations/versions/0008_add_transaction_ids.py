"""Add the transaction that wrote each row, by which batches for the lake tell what is new.

Rows that are there get the migration's own. The default is no volatile expression, so no table is
rewritten.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = (
    "chat_history",
    "chat_pairs",
    "embedding_events",
    "retrieve_events",
    "compose_events",
    "flow_lineage",
    "tool_calls",
    "rerank_scores",
    "document_chunks",
)
_CATALOG_SCHEMA = "iceberg"


def upgrade() -> None:
    op.add_column(
        "document_chunks",
        sa.Column(
            "added_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
    )
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column(
                "transaction_id",
                sa.BigInteger(),
                server_default=sa.text("((pg_current_xact_id())::text)::bigint"),
                nullable=False,
            ),
        )
        op.create_index(
            f"ix_{table}__transaction_id",
            table,
            ["transaction_id"],
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )
    op.create_table(
        "lake_scans",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("scanned_below", sa.BigInteger(), nullable=False),
        _recorded_at(),
        sa.PrimaryKeyConstraint("table_name", name=op.f("lake_scans_pkey")),
    )
    # Nothing has written watermarks before.
    op.drop_table("lake_watermarks")
    _create_watermarks(sa.BigInteger(), sa.Column("table_uuid", sa.Uuid(), nullable=False))
    # The tables in it are PyIceberg's own.
    op.execute(f"CREATE SCHEMA IF NOT EXISTS {_CATALOG_SCHEMA}")


def downgrade() -> None:
    """The catalog's schema stays: what it names is not this database's alone."""
    op.drop_table("lake_watermarks")
    _create_watermarks(sa.DateTime(timezone=True))
    op.drop_table("lake_scans")
    for table in _TABLES:
        op.drop_column(table, "transaction_id")
    op.drop_column("document_chunks", "added_at")


def _create_watermarks(watermark: sa.types.TypeEngine[Any], *further: sa.Column[Any]) -> None:
    op.create_table(
        "lake_watermarks",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("partition_day", sa.Date(), nullable=False),
        *further,
        sa.Column("low_watermark", watermark, nullable=False),
        sa.Column("high_watermark", watermark, nullable=False),
        sa.Column("snapshot_id", sa.BigInteger(), nullable=True),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        _recorded_at(),
        sa.PrimaryKeyConstraint("table_name", "partition_day", name=op.f("lake_watermarks_pkey")),
    )


def _recorded_at() -> sa.Column[Any]:
    return sa.Column(
        "recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )
