"""Passages that say what another one already said."""

import re
from collections.abc import Sequence

from knowledge.ports import Passage

_WORD = re.compile(r"\w+")
_SHINGLE_WORDS = 4
_CONTAINMENT = 0.8


class SeenPassages:
    """Remembers passages and recognises one that is mostly contained in them."""

    def __init__(self) -> None:
        self._shingles: list[frozenset[tuple[str, ...]]] = []

    def add_if_new(self, passage: Passage) -> bool:
        """Remember `passage` and return True, unless it nearly repeats an earlier one.

        It does where four fifths of the four-word sequences of the smaller of the two occur in
        the other: copies, versions of one page and chunks that overlap each other widely.
        """
        shingles = _shingles(passage.content)
        if any(_containment(shingles, seen) >= _CONTAINMENT for seen in self._shingles):
            return False
        self._shingles.append(shingles)
        return True


def split_near_duplicates(
    passages: Sequence[Passage],
) -> tuple[list[Passage], list[Passage]]:
    """Return the passages worth showing and the near-duplicates of better ones, in order."""
    seen = SeenPassages()
    kept: list[Passage] = []
    dropped: list[Passage] = []
    for passage in passages:
        (kept if seen.add_if_new(passage) else dropped).append(passage)
    return kept, dropped


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    size = min(_SHINGLE_WORDS, max(len(words), 1))
    return frozenset(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def _containment(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    smaller = min(len(one), len(other))
    return len(one & other) / smaller if smaller else 0.0
