"""What a loader makes of a file: a title and a sequence of blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the file says about itself besides its title, ready for JSON."""
    warning: str | None = None
    """What could not be read of a file whose text could; the message completes "FILE: …"."""


class UnreadableContent(Exception):
    """The bytes hold no text that can be read; the message completes "FILE: …"."""
