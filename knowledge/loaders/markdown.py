"""Markdown (CommonMark with tables), through markdown-it-py's tokens."""

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from knowledge.loaders.content import Block, Content
from knowledge.loaders.front_matter import split_front_matter
from knowledge.loaders.html import read_html
from knowledge.loaders.tables import format_table
from knowledge.text_cleaning import clean_line


def read_markdown(text: str) -> Content:
    """Read the blocks of a Markdown document.

    Lists and quotations keep their source lines, so that nesting and nested fences stay as
    written. Front matter (YAML or TOML) is no content; its title, if any, is the document's, its
    other keys are the document's attributes.
    Embedded HTML is read as HTML. The title is otherwise that of the first heading of level 1.
    """
    front_matter, body = split_front_matter(text)
    blocks = _read_blocks(body)
    title = front_matter.title
    if title is None:
        title = next((b.text for b in blocks if b.kind == "heading" and b.level == 1), None)
    return Content(title, tuple(blocks), front_matter.attributes, front_matter.warning)


def _read_blocks(text: str) -> list[Block]:
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    blocks: list[Block] = []
    for position, token in enumerate(tokens):
        if token.level != 0 or token.nesting == -1:
            continue
        match token.type:
            case "heading_open":
                heading = _inline_text(tokens[position + 1])
                blocks.append(Block("heading", heading, level=int(token.tag[1:])))
            case "paragraph_open":
                blocks.append(Block("paragraph", tokens[position + 1].content))
            case "fence" | "code_block":
                language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
                blocks.append(Block("code", token.content.rstrip("\n"), language=language))
            case "table_open":
                blocks.append(Block("table", _format_table(tokens[position:])))
            case "bullet_list_open" | "ordered_list_open":
                blocks.append(Block("list", _source_lines(lines, token)))
            case "html_block":
                blocks.extend(read_html(token.content).blocks)
            case "hr":
                pass
            case _:
                blocks.append(Block("paragraph", _source_lines(lines, token)))
    return [block for block in blocks if block.text.strip()]


def _source_lines(lines: Sequence[str], token: Token) -> str:
    if token.map is None:
        return token.content
    start, end = token.map
    return "\n".join(lines[start:end]).strip("\n").rstrip()


def _inline_text(token: Token) -> str:
    """The text of a heading: without markup, images by their alternative text."""
    parts = [
        child.content
        for child in token.children or ()
        if child.type in {"text", "code_inline", "image", "softbreak", "hardbreak"}
    ]
    return clean_line(" ".join(parts) if "" in parts else "".join(parts))


def _format_table(tokens: Sequence[Token]) -> str:
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(token.content)
    return format_table(rows, has_header=True)
