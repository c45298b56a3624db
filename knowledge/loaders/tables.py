"""Tables as Markdown rows."""

import re
from collections.abc import Sequence

_DELIMITER_ROW = re.compile(r"\|(?: --- \|)+")


def format_table(rows: Sequence[Sequence[str]], *, has_header: bool) -> str:
    """Return `rows` as pipe-delimited lines, a delimiter row after the first if it is a header.

    Rows with no text are left out; cells must be single lines.
    """
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    lines = [_format_row(row) for row in kept]
    if has_header and lines:
        lines.insert(1, "|" + " --- |" * max(len(kept[0]), 1))
    return "\n".join(lines)


def split_header(table: str) -> tuple[list[str], list[str]]:
    """Return the header lines (header and delimiter row, or none) and the body rows."""
    lines = table.split("\n")
    if len(lines) >= 2 and _DELIMITER_ROW.fullmatch(lines[1]):
        return lines[:2], lines[2:]
    return [], lines


def _format_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").strip() for cell in cells) + " |"
