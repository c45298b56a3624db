"""Plain text and reStructuredText: paragraphs, and headings by their underlines."""

import re

from knowledge.loaders.content import Block, Content

_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*")
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")
_LONGEST_HEADING = 200


def read_plain_text(text: str) -> Content:
    """Split `text` at blank lines; a line underlined by punctuation is a heading.

    The level of a heading follows reStructuredText: the first underline character met is level
    1, the next new one level 2 and so on; an overlined heading differs from one that is not.
    """
    blocks: list[Block] = []
    level_of_style: dict[str, int] = {}
    for paragraph in _BLANK_LINES.split(text.strip("\n")):
        lines = [line.rstrip() for line in paragraph.split("\n")]
        heading = _read_heading(lines)
        if heading is not None:
            heading_text, style, line_count = heading
            level = level_of_style.setdefault(style, len(level_of_style) + 1)
            blocks.append(Block("heading", heading_text, level=level))
            lines = lines[line_count:]
        body = "\n".join(line for line in lines if line)
        if body:
            blocks.append(Block("paragraph", body))
    title = next((block.text for block in blocks if block.kind == "heading"), None)
    return Content(title, tuple(blocks))


def _read_heading(lines: list[str]) -> tuple[str, str, int] | None:
    """Return title, underline style and number of lines, if the paragraph starts with one."""
    if len(lines) >= 3 and _is_underline(lines[0], lines[1]) and lines[0] == lines[2]:
        return lines[1].strip(), f"overlined {lines[0][0]}", 3
    if len(lines) >= 2 and not lines[0][:1].isspace() and _is_underline(lines[1], lines[0]):
        return lines[0], lines[1][0], 2
    return None


def _is_underline(line: str, title: str) -> bool:
    return (
        _UNDERLINE.fullmatch(line) is not None
        and 0 < len(title.strip()) <= _LONGEST_HEADING
        and len(line) >= len(title.strip())
        and _UNDERLINE.fullmatch(title) is None
    )
