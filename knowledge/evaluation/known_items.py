"""Queries made from the corpus itself, each of an item whose place is known.

They need no judges and there are many of them, but they are kinder to a search by words than
people's questions are: a heading, say, stands in its own chunks word for word.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from knowledge.evaluation.corpus import Corpus, squash
from knowledge.evaluation.query_sets import (
    KNOWN_ITEM_GRADE,
    EvaluationQuery,
    QuerySet,
    sample_queries,
)

ItemKind = Literal["headings", "links", "docstrings"]
ITEM_KINDS: tuple[ItemKind, ...] = ("headings", "links", "docstrings")
DEFAULT_LIMIT = 300

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


class UnknownItemKind(ValueError):
    """There is no such kind of known items."""


def parse_kinds(names: Iterable[str]) -> tuple[ItemKind, ...]:
    """Return the kinds of those names.

    Raises:
        UnknownItemKind: one of them is none.
    """
    wanted = set(names)
    unknown = sorted(wanted.difference(ITEM_KINDS))
    if unknown:
        raise UnknownItemKind(
            f"{', '.join(unknown)}: no kind of known items, there are {', '.join(ITEM_KINDS)}"
        )
    return tuple(kind for kind in ITEM_KINDS if kind in wanted)


def make_known_items(corpus: Corpus, kind: ItemKind, *, limit: int = DEFAULT_LIMIT) -> QuerySet:
    """Return at most `limit` queries of `kind`, always the same ones of the same corpus.

    Link texts and docstrings are read from the documents' source files, and are missing where
    these are gone.
    """
    # The readers of source files import parsers, which the other kinds do without.
    if kind == "headings":
        items = find_headings(corpus)
    elif kind == "links":
        from knowledge.evaluation.link_texts import find_link_texts

        items = find_link_texts(corpus, limit=limit)
    else:
        from knowledge.evaluation.docstrings import find_docstrings

        items = find_docstrings(corpus)
    return QuerySet(kind, sample_queries(items, limit))


def find_headings(corpus: Corpus) -> list[EvaluationQuery]:
    """Return the headings and titles that say something and occur once in the corpus.

    What is under a heading, in its own sections too, is relevant.
    """
    places: dict[str, dict[tuple[str, tuple[str, ...]], set[UUID]]] = defaultdict(dict)
    texts: dict[str, str] = {}
    for source, chunks in corpus.chunks_of_source.items():
        for chunk in chunks:
            path = (chunk.title, *chunk.heading_path)
            for depth, heading in enumerate(path, 1):
                text = strip_numbering(heading)
                key = squash(text)
                texts[key] = text
                places[key].setdefault((source, path[:depth]), set()).add(chunk.chunk_id)
    queries = []
    for key, found in places.items():
        if len(found) == 1 and is_telling(texts[key]):
            (chunk_ids,) = found.values()
            if len(chunk_ids) <= LARGEST_SECTION:
                queries.append(
                    EvaluationQuery(texts[key], dict.fromkeys(chunk_ids, KNOWN_ITEM_GRADE))
                )
    return queries


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
