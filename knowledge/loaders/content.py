"""What a loader makes of a file: a title and a sequence of blocks."""

from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["heading", "paragraph", "code", "table", "list"]


@dataclass(frozen=True)
class Block:
    """One structural part of a document, in reading order."""

    kind: BlockKind
    text: str
    """Markdown, but for `code`, which is the bare code. A table is one row a line, cells between
    pipes; where it has a header, the second line is the delimiter row."""
    level: int = 0
    """Depth of a heading, from 1; 0 for everything else."""
    language: str = ""
    """Programming language of a code block, if the document names it."""


@dataclass(frozen=True)
class Content:
    """A loader's result. The title is None where the file names none."""

    title: str | None
    blocks: tuple[Block, ...]


class UnreadableContent(Exception):
    """The bytes hold no text that can be read; the message completes "FILE: …"."""
