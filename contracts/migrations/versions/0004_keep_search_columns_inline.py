"""Keep what a search reads of a chunk in its row, uncompressed.

Ranking reads the search vectors of some thousand chunks: decompressing them took three quarters
of its time, fetching them from the TOAST table as much. Rows that are there already stay as they
are until they are written anew.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The largest target that leaves two rows to a page.
    op.execute("ALTER TABLE document_chunks SET (toast_tuple_target = 4080)")
    # MAIN: compressed or moved out only after all other columns.
    op.execute("ALTER TABLE document_chunks ALTER COLUMN search_vector SET STORAGE MAIN")
    # Nothing is gained by trying to compress numbers that look random.
    op.execute("ALTER TABLE document_chunks ALTER COLUMN token_vectors SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE document_chunks ALTER COLUMN token_vectors SET STORAGE EXTENDED")
    op.execute("ALTER TABLE document_chunks ALTER COLUMN search_vector SET STORAGE EXTENDED")
    op.execute("ALTER TABLE document_chunks RESET (toast_tuple_target)")
