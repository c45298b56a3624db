"""How many chunks hold a word, remembered for a while."""

from collections.abc import Iterable, Mapping
from time import monotonic

_KEPT_SECONDS = 60.0
_MOST_LEXEMES = 50_000
"""Some ten megabytes."""


class LexemeCounts:
    """Counts by collections and lexeme; no collections are all of them.

    Counting takes a third of a full-text search, the words of a field come back in question after
    question, and how much a word tells changes little within a minute.
    """

    def __init__(
        self, *, kept_seconds: float = _KEPT_SECONDS, most_lexemes: int = _MOST_LEXEMES
    ) -> None:
        self._kept_seconds = kept_seconds
        self._most_lexemes = most_lexemes
        self._counts: dict[tuple[tuple[str, ...], str], tuple[int, float]] = {}

    def find(self, collections: tuple[str, ...], lexemes: Iterable[str]) -> dict[str, int]:
        """Return the counts of those `lexemes` that were counted lately."""
        oldest = monotonic() - self._kept_seconds
        found = {}
        for lexeme in lexemes:
            count, counted_at = self._counts.get((collections, lexeme), (0, float("-inf")))
            if counted_at >= oldest:
                found[lexeme] = count
        return found

    def keep(self, collections: tuple[str, ...], counts: Mapping[str, int]) -> None:
        """Remember `counts`; those that were counted first make room.

        A word that no chunk holds is not remembered: the next document may bring it.
        """
        now = monotonic()
        for lexeme, count in counts.items():
            if count > 0:
                self._counts.pop((collections, lexeme), None)
                self._counts[collections, lexeme] = (count, now)
        while len(self._counts) > self._most_lexemes:
            del self._counts[next(iter(self._counts))]
