"""Which texts can stand for an item of a corpus, and for one alone."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from knowledge.evaluation.corpus import squash
from knowledge.evaluation.query_sets import KNOWN_ITEM_GRADE, EvaluationQuery

LARGEST_SECTION = 20
"""Chunks: to name one that is larger says too little about what is looked for."""
_FEWEST_WORDS = 3
_FEWEST_TELLING_WORDS = 2
_MOST_PLACES = 3
"""That a text may stand for; one with more names nothing in particular."""
_NUMBERING = re.compile(r"^(?:(?:chapter|appendix|part)\s+\w+\.?\s+|[\dA-Z]+(?:\.\d+)*\.\s+)", re.I)
_WORD = re.compile(r"\W*(?P<word>[^\W\d_]{2,}(?:[-'\u2019][^\W\d_]+)*)\W*")
_EMPTY_WORDS = frozenset(
    {"about", "above", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be",
     "below", "been", "between", "but", "by", "can", "chapter", "do", "documentation", "does",
     "example", "examples", "following", "for", "from", "full", "further", "general", "had", "has",
     "have", "here", "how", "in", "information", "into", "introduction", "is", "it", "its", "list",
     "more", "new", "next", "no", "not", "note", "notes", "of", "on", "only", "or", "other",
     "overview", "page", "previous", "reference", "section", "see", "some", "summary", "table",
     "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
     "to", "use", "used", "using", "via", "was", "what", "when", "where", "which", "who", "why",
     "will", "with", "without", "you", "your"}
)  # fmt: skip


def merge_items(items: Iterable[EvaluationQuery]) -> list[EvaluationQuery]:
    """Make queries of the same text one, and leave out those that stand for many places."""
    by_text: Mapping[str, list[EvaluationQuery]] = defaultdict(list)
    for item in items:
        by_text[squash(item.text)].append(item)
    return [
        merged
        for same in by_text.values()
        if len({frozenset(item.grades) for item in same}) <= _MOST_PLACES
        for merged in _merge(same)
    ]


def _merge(items: Sequence[EvaluationQuery]) -> Iterable[EvaluationQuery]:
    excluded = frozenset[UUID]().union(*(item.excluded for item in items))
    relevant = {chunk_id for item in items for chunk_id in item.grades} - excluded
    if relevant:
        yield EvaluationQuery(items[0].text, dict.fromkeys(relevant, KNOWN_ITEM_GRADE), excluded)


def strip_numbering(heading: str) -> str:
    """Return `heading` without its number, which would give the place away."""
    return _NUMBERING.sub("", heading).strip()


def is_telling(text: str) -> bool:
    """Return whether `text` is of several words that say what is looked for."""
    # A dotted or underscored name is one word, and none of prose.
    found = filter(None, map(_WORD.fullmatch, text.split()))
    words = [each["word"].lower() for each in found]
    telling = [word for word in words if word not in _EMPTY_WORDS]
    return len(words) >= _FEWEST_WORDS and len(telling) >= _FEWEST_TELLING_WORDS
