"""Passages and documents for tests of what works on them."""

import hashlib

from knowledge.documents import Document
from knowledge.loaders.content import Block
from knowledge.ports import Passage


def make_passage(
    content: str,
    *,
    chunk_id: str = "chunk-1",
    title: str = "Handbook",
    heading_path: tuple[str, ...] = (),
    source: str = "handbook.md",
) -> Passage:
    return Passage(
        chunk_id=chunk_id,
        content=content,
        heading_path=heading_path,
        title=title,
        source=source,
        collection="default",
        text_score=1.5,
    )


def make_document(
    *blocks: Block, source: str = "handbook.md", title: str = "Handbook", version: str = "1"
) -> Document:
    return Document(
        source=source,
        title=title,
        media_type="text/markdown",
        blocks=blocks,
        content_sha256=hashlib.sha256(f"{version}{blocks}".encode()).digest(),
    )


def heading(text: str, level: int = 1) -> Block:
    return Block("heading", text, level=level)


def paragraph(text: str) -> Block:
    return Block("paragraph", text)


GATES = make_document(
    heading("Sluice gates"),
    paragraph("A gate controls how much water flows through the channel."),
    heading("Maintenance", 2),
    paragraph("Grease the spindle of the gate twice a year."),
    source="gates.md",
    title="Sluice gates",
)
LOCKS = make_document(
    heading("Locks"),
    paragraph("Boats are raised and lowered where the water of the channel changes its level."),
    source="locks.md",
    title="Locks",
)
CANALS = [
    make_document(
        heading(f"Canal {i}"),
        paragraph(f"The water of the channel number {i} flows to the sea."),
        source=f"canal-{i}.md",
        title=f"Canal {i}",
    )
    for i in range(30)
]
