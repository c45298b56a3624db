"""Add to every event who called, and whether its texts were withheld."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_EVENT_TABLES = (
    "chat_history",
    "chat_pairs",
    "embedding_events",
    "retrieve_events",
    "compose_events",
    "flow_lineage",
    "tool_calls",
)


def upgrade() -> None:
    for table in _EVENT_TABLES:
        # `chat_history` has had the caller's column from the beginning.
        op.add_column(table, sa.Column("api_key_name", sa.Text()), if_not_exists=True)
        op.add_column(
            table,
            sa.Column("content_capture", sa.Text(), nullable=False, server_default="full"),
        )
        op.alter_column(table, "content_capture", server_default=None)


def downgrade() -> None:
    for table in _EVENT_TABLES:
        op.drop_column(table, "content_capture")
        if table != "chat_history":
            op.drop_column(table, "api_key_name")
