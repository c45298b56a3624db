"""Documents cut into chunks along their structure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from knowledge.documents import Document
from knowledge.loaders.content import Block
from knowledge.loaders.tables import split_header
from knowledge.sentences import split_lines, split_sentences, split_to_fit
from knowledge.tokens import estimate_tokens

DEFAULT_MAX_TOKENS = 400
DEFAULT_OVERLAP_TOKENS = 40

_LONGEST_HEADING = 300
_SEPARATOR = "\n\n"
_SEPARATOR_TOKENS = 1
_SMALLEST_MAX_TOKENS = 32
_BACKTICK_RUN = re.compile(r"`{3,}")
_LIST_ITEM = re.compile(r"^(?=(?:[-*+]|\d{1,9}[.)])\s)", re.MULTILINE)


@dataclass(frozen=True)
class Chunk:
    """A passage of a document, small enough for a prompt, Markdown."""

    position: int
    """Place in the document, from 0."""
    heading_path: tuple[str, ...]
    """Headings above the passage, outermost first, without the document's title."""
    content: str
    token_estimate: int


@dataclass(frozen=True)
class _Section:
    heading_path: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class _Piece:
    """A block, or a part of one that was too large."""

    text: str
    token_count: int
    is_prose: bool
    is_continuation: bool
    """Whether the piece before it is of the same block."""


def chunk_document(
    document: Document,
    *,
    max_tokens: int = DEFAULT_MAX_TOKENS,
    overlap_tokens: int = DEFAULT_OVERLAP_TOKENS,
) -> list[Chunk]:
    """Cut `document` into chunks of at most `max_tokens` (see `estimate_tokens`).

    A chunk never spans two sections. Code, tables and lists stay whole where they fit; a larger
    one is split at line borders, each part of a table under the table's header, each part of code
    in a fence of its own. Prose is split between sentences, and a chunk of a section that begins
    within prose repeats up to `overlap_tokens` of the sentences before it. A heading with nothing
    under it is content of the section around it, so that no word is lost.

    Raises:
        ValueError: `max_tokens` is under 32, or `overlap_tokens` negative or over half of it.
    """
    if max_tokens < _SMALLEST_MAX_TOKENS:
        raise ValueError(f"max_tokens must be at least {_SMALLEST_MAX_TOKENS}, not {max_tokens}")
    if not 0 <= overlap_tokens <= max_tokens // 2:
        raise ValueError(f"overlap_tokens must be 0 to {max_tokens // 2}, not {overlap_tokens}")
    chunks: list[Chunk] = []
    for section in _read_sections(document):
        pieces = [
            piece
            for block in section.blocks
            for piece in _split_block(block, max_tokens, overlap_tokens)
        ]
        for content in _pack(pieces, max_tokens, overlap_tokens):
            chunks.append(
                Chunk(len(chunks), section.heading_path, content, estimate_tokens(content))
            )
    return chunks


def _read_sections(document: Document) -> Iterator[_Section]:
    """Yield runs of blocks under the same headings; headings of nothing become paragraphs."""
    open_headings: list[Block] = []
    blocks: list[Block] = []
    for block in document.blocks:
        if block.kind != "heading":
            blocks.append(block)
            continue
        if len(block.text) > _LONGEST_HEADING:
            blocks.append(Block("paragraph", block.text))
            continue
        if blocks:
            yield _section(document, open_headings, blocks)
        elif open_headings and open_headings[-1].level >= block.level:
            yield _demote_heading(document, open_headings)
        blocks = []
        open_headings = [
            *(heading for heading in open_headings if heading.level < block.level),
            block,
        ]
    if blocks:
        yield _section(document, open_headings, blocks)
    elif open_headings:
        yield _demote_heading(document, open_headings)


def _section(document: Document, headings: Sequence[Block], blocks: Sequence[Block]) -> _Section:
    path = tuple(heading.text for heading in headings)
    return _Section(path[1:] if path[:1] == (document.title,) else path, tuple(blocks))


def _demote_heading(document: Document, headings: Sequence[Block]) -> _Section:
    """The innermost heading as a paragraph of the section around it."""
    *above, last = headings
    return _section(document, above, [Block("paragraph", last.text)])


def _split_block(block: Block, max_tokens: int, overlap_tokens: int) -> Iterator[_Piece]:
    match block.kind:
        case "code":
            texts = list(_split_code(block, max_tokens))
        case "table":
            texts = list(_split_table(block.text, max_tokens))
        case "list":
            texts = split_to_fit(block.text, max_tokens, _split_items, split_lines, split_sentences)
        case _ if estimate_tokens(block.text) <= max_tokens:
            texts = [block.text.strip("\n").rstrip()]
        case _:
            # Each part leaves room for the sentences that it will repeat.
            room = max_tokens - overlap_tokens - _SEPARATOR_TOKENS
            texts = split_to_fit(block.text, room, split_sentences, split_lines)
    for number, text in enumerate(texts):
        yield _Piece(
            text,
            estimate_tokens(text),
            is_prose=block.kind == "paragraph",
            is_continuation=number > 0,
        )


def _split_items(text: str) -> Iterator[str]:
    starts = [found.start() for found in _LIST_ITEM.finditer(text)]
    borders = [0, *(start for start in starts if start > 0), len(text)]
    for start, end in pairwise(borders):
        yield text[start:end]


def _split_code(block: Block, max_tokens: int) -> Iterator[str]:
    longest_run = max((len(run) for run in _BACKTICK_RUN.findall(block.text)), default=2)
    fence = "`" * (longest_run + 1)
    opening, closing = f"{fence}{block.language[:40]}\n", f"\n{fence}"
    room = max_tokens - estimate_tokens(opening) - estimate_tokens(closing)
    if room < max_tokens // 2:  # a fence that would take the chunk: code about code fences
        yield from split_to_fit(block.text, max_tokens, split_lines)
        return
    for part in split_to_fit(block.text, room, split_lines):
        yield f"{opening}{part}{closing}"


def _split_table(table: str, max_tokens: int) -> Iterator[str]:
    if estimate_tokens(table) <= max_tokens:
        yield table
        return
    header_lines, rows = split_header(table)
    header = "".join(f"{line}\n" for line in header_lines)
    room = max_tokens - estimate_tokens(header)
    if room < max_tokens // 2:  # a header that would take the chunk is repeated nowhere
        yield from split_to_fit(table, max_tokens, split_lines)
        return
    for part in split_to_fit("\n".join(rows), room, split_lines):
        yield header + part


def _pack(pieces: Sequence[_Piece], max_tokens: int, overlap_tokens: int) -> Iterator[str]:
    """Yield the contents of a section's chunks: as many whole pieces as fit."""
    content = ""
    token_count = 0
    previous: _Piece | None = None
    for piece in pieces:
        separator = _SEPARATOR
        is_full = token_count + _SEPARATOR_TOKENS + piece.token_count > max_tokens
        # Where a block had to be cut, a chunk ends: its parts joined again would not be its text.
        if previous and (is_full or piece.is_continuation):
            yield content
            room = max_tokens - _SEPARATOR_TOKENS - piece.token_count
            content = _last_sentences(previous, min(overlap_tokens, room))
            token_count = estimate_tokens(content)
            separator = " " if piece.is_continuation else _SEPARATOR
        content = f"{content}{separator}{piece.text}" if content else piece.text
        token_count += piece.token_count + _SEPARATOR_TOKENS
        previous = piece
    if content:
        yield content


def _last_sentences(piece: _Piece, max_tokens: int) -> str:
    if not piece.is_prose:
        return ""
    kept = ""
    for sentence in reversed(list(split_sentences(piece.text))):
        if estimate_tokens(sentence + kept) > max_tokens:
            break
        kept = sentence + kept
    # A piece that is repeated whole would be a chunk within a chunk.
    return "" if kept == piece.text else kept.strip()
