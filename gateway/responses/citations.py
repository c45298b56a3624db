"""Citations of retrieved passages in an answer's text, as annotations.

The model is asked to cite a passage by its number, as in `[1]`.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_MARK = re.compile(r"\[(\d{1,3})\]")


class Citation(NamedTuple):
    """A passage in the prompt."""

    number: int
    file_id: str
    filename: str


def cite_sources(text: str, citations: Sequence[Citation]) -> list[dict[str, Any]]:
    """Return a `file_citation` for each mark in `text` that is the number of a passage."""
    if not citations:
        return []
    by_number = {citation.number: citation for citation in citations}
    return [
        {
            "type": "file_citation",
            "index": mark.start(),
            "file_id": by_number[number].file_id,
            "filename": by_number[number].filename,
        }
        for mark in _MARK.finditer(text)
        if (number := int(mark[1])) in by_number
    ]
