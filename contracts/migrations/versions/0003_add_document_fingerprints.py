"""Add to documents what tells that reading a file again would change nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("ingest_fingerprint", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("documents", "ingest_fingerprint")
