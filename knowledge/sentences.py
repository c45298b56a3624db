"""Prose and lines cut into pieces of bounded size, at the best border there is."""

import re
from collections.abc import Callable, Iterator

from knowledge.tokens import estimate_tokens

_SENTENCE_BORDER = re.compile(
    r"(?<=[.!?\u2026])[\"')\]*_`\u201d\u2019]{0,3}\s+(?=[\"'(\[*_`\u201c\u2018]{0,3}[^\W\d_a-z]|\d)"
    r"|(?<=[\u3002\uff01\uff1f])"
    r"|\n{2,}"
)
# "e.g. Python" is one sentence; single capitals are initials.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:e\.g|i\.e|cf|etc|vs|viz|approx|resp|no|nos|fig|figs|eq|sec|ch|vol|pp?|ed|eds"
    r"|al|dr|mr|mrs|ms|prof|st|jr|sr|inc|ltd|co|[a-z])\.$",
    re.IGNORECASE,
)
_ABBREVIATION_WINDOW = 12
_WORD = re.compile(r"\s*\S+")

Splitter = Callable[[str], Iterator[str]]


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of `text`, each with the whitespace that follows it."""
    start = 0
    for border in _SENTENCE_BORDER.finditer(text):
        end = border.end()
        before = text[max(start, border.start() - _ABBREVIATION_WINDOW) : border.start()]
        if end > start and not _ABBREVIATION.search(before):
            yield text[start:end]
            start = end
    if start < len(text):
        yield text[start:]


def split_lines(text: str) -> Iterator[str]:
    """Yield the lines of `text` with their line breaks."""
    yield from text.splitlines(keepends=True)


def split_words(text: str) -> Iterator[str]:
    """Yield the words of `text`, each with the whitespace before it."""
    for word in _WORD.finditer(text):
        yield word[0]


def split_to_fit(text: str, max_tokens: int, *splitters: Splitter) -> list[str]:
    """Cut `text` into consecutive pieces of at most `max_tokens`, greedily.

    The first splitter gives the preferred borders; a part that is too large by itself is cut by
    the next one, at last at words, then between any two characters. Outer line breaks of a piece
    are dropped, nothing else is: the rest of the pieces is `text`, in order.
    """
    pieces: list[str] = []
    current: list[str] = []
    token_count = 0
    for part in _parts_that_fit(text, max_tokens, (*splitters, split_words)):
        # The estimate of a whole is at most the sum of its parts'.
        part_tokens = estimate_tokens(part)
        if current and token_count + part_tokens > max_tokens:
            pieces.append("".join(current))
            current, token_count = [], 0
        current.append(part)
        token_count += part_tokens
    pieces.append("".join(current))
    trimmed = (piece.strip("\n").rstrip() for piece in pieces)
    return [piece for piece in trimmed if piece]


def _parts_that_fit(text: str, max_tokens: int, splitters: tuple[Splitter, ...]) -> Iterator[str]:
    if estimate_tokens(text) <= max_tokens:
        yield text
    elif not splitters:
        yield from _cut_hard(text, max_tokens)
    else:
        for part in splitters[0](text):
            yield from _parts_that_fit(part, max_tokens, splitters[1:])


def _cut_hard(text: str, max_tokens: int) -> Iterator[str]:
    # No character is more than one token, so this many always fit; most runs take far more.
    start = 0
    while start < len(text):
        length = max_tokens
        while (
            start + length < len(text)
            and estimate_tokens(text[start : start + 2 * length]) <= max_tokens
        ):
            length *= 2
        yield text[start : start + length]
        start += length
