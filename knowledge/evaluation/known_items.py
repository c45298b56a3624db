"""Queries made from the corpus itself, each of an item whose place is known.

They need no judges and there are many of them, but they are kinder to a search by words than
people's questions are: a heading, say, stands in its own chunks word for word.
"""

from collections.abc import Iterable
from typing import Literal

from knowledge.evaluation.corpus import Corpus
from knowledge.evaluation.headings import find_headings
from knowledge.evaluation.query_sets import QuerySet, sample_queries

ItemKind = Literal["headings", "links", "docstrings"]
ITEM_KINDS: tuple[ItemKind, ...] = ("headings", "links", "docstrings")
DEFAULT_LIMIT = 300


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
