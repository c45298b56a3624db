"""Find the chat pairs of a batch by their stream sequences, which rows are written in order of."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_chat_pairs__stream_sequence",
        "chat_pairs",
        ["stream_sequence"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )


def downgrade() -> None:
    op.drop_index("ix_chat_pairs__stream_sequence", table_name="chat_pairs")
