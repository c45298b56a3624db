"""Keep responses of the Responses API as their own JSON text, found by their items too.

Nothing had been written to the table before. JSONB refuses an escaped NUL, which models do write,
and decoding what is only handed back costs time.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLE = "api_responses"


def upgrade() -> None:
    op.alter_column(
        _TABLE,
        "request",
        new_column_name="input_items",
        type_=sa.JSON(),
        postgresql_using="request::json",
    )
    op.alter_column(_TABLE, "response", type_=sa.JSON(), postgresql_using="response::json")
    op.add_column(_TABLE, sa.Column("item_ids", sa.ARRAY(sa.Text()), nullable=False))
    op.add_column(_TABLE, sa.Column("size_bytes", sa.Integer(), nullable=False))
    op.drop_index("ix_api_responses__previous_response_id", _TABLE)
    op.create_index(
        "ix_api_responses__api_key_name_expires_at", _TABLE, ["api_key_name", "expires_at"]
    )
    op.create_index("ix_api_responses__item_ids", _TABLE, ["item_ids"], postgresql_using="gin")


def downgrade() -> None:
    op.drop_index("ix_api_responses__item_ids", _TABLE)
    op.drop_index("ix_api_responses__api_key_name_expires_at", _TABLE)
    op.create_index("ix_api_responses__previous_response_id", _TABLE, ["previous_response_id"])
    op.drop_column(_TABLE, "size_bytes")
    op.drop_column(_TABLE, "item_ids")
    op.alter_column(_TABLE, "response", type_=sa.dialects.postgresql.JSONB())
    op.alter_column(
        _TABLE,
        "input_items",
        new_column_name="request",
        type_=sa.dialects.postgresql.JSONB(),
    )
