"""Documents put into a test's database."""

from pathlib import Path

from sqlalchemy import create_engine

from knowledge.chunking import chunk_document
from knowledge.document_store import store_document
from knowledge.documents import load_document

HANDBOOK = """# Handbook

## Vacation

Employees request vacation in the *Zebrafish* portal, three weeks ahead.

## Expenses

Receipts above forty euros go to the Quokka desk within a month.

## Laptops

A broken laptop is swapped at the Narwhal counter on the second floor.
"""


def ingest(
    sqlalchemy_url: str, folder: Path, *, text: str = HANDBOOK, collection: str = "default"
) -> None:
    """Store `text` as the Markdown document handbook.md."""
    file = folder / "handbook.md"
    file.write_text(text)
    document = load_document(file, source=f"docs/{file.name}")
    engine = create_engine(sqlalchemy_url)
    with engine.begin() as connection:
        store_document(connection, document, chunk_document(document), collection=collection)
    engine.dispose()
