"""Documents put into a test's database."""

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import create_engine

from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import chunk_document
from knowledge.document_store import store_document
from knowledge.documents import load_document
from knowledge.embedding_models import require_model
from knowledge.ports import BlockingEncoder

HANDBOOK = """# Handbook

## Vacation

Employees request vacation in the *Zebrafish* portal, three weeks ahead.

## Expenses

Receipts above forty euros go to the Quokka desk within a month.

## Laptops

A broken laptop is swapped at the Narwhal counter on the second floor.
"""


def ingest(
    sqlalchemy_url: str,
    folder: Path,
    *,
    text: str = HANDBOOK,
    collection: str = "default",
    encoder: BlockingEncoder | None = None,
    attributes: Mapping[str, str] | None = None,
) -> None:
    """Store `text` as the Markdown document handbook.md, with vectors where there is an encoder."""
    file = folder / "handbook.md"
    file.write_text(text)
    document = load_document(file, source=f"docs/{file.name}")
    engine = create_engine(sqlalchemy_url)
    with engine.begin() as connection:
        if encoder is not None:
            require_model(connection, encoder.model)
        store_document(
            connection,
            document,
            chunk_document(document),
            collection=collection,
            encoder=None if encoder is None else ChunkEncoder(encoder, with_tokens=True),
            attributes=attributes,
        )
    engine.dispose()
