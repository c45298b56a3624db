"""Full-text search over the ingested documents' chunks in PostgreSQL."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.tables import document_chunks
from knowledge.ports import SearchFilters
from knowledge.search_connections import SearchConnections
from knowledge.search_filters import chunk_conditions
from knowledge.search_scope import SearchScope
from knowledge.text_cleaning import clean_text

_CONFIGURATION: ColumnElement[str] = literal_column("'english'::regconfig")
"""The text search configuration of `document_chunks.search_vector`."""
_EDGE_CHARACTERS = 1000
"""Of a longer query only beginning and end are searched for: there the question stands, while
what lies between is mostly pasted."""
_MAX_TERMS = 24
_COUNTED_CHUNKS = 1000
"""A word in more chunks than this is common: how common the planner's statistics tell."""
_FEWEST_CANDIDATES = 300
_MOST_CANDIDATES = 3000
_FEWEST_PAIRED_CANDIDATES = 1000
_MOST_RANKED_CHUNKS = 10_000
"""Even a word that is everywhere may be all there is to a question: then some of its chunks are
ranked, so that the search answers in time."""
_POSITION_WEIGHTS = (0.1, 0.2, 0.6, 1.0)
"""Of a word in a place of class D, C, B (content) and A (headings), for `ts_rank`. Tried with
twenty questions on 1,666 pages of the Python and PostgreSQL manuals, 0.6 did better than 0.25 and
0.4. A premium for words that stand together, as in the question, made the order worse; a discount
for length changed nothing among chunks of at most 400 tokens."""


@dataclass(frozen=True)
class _Term:
    """A lexeme of the query."""

    lexeme: str
    chunk_count: int
    """In the collection."""
    weight: float
    """Inverse document frequency: how much the word tells one chunk from another."""

    @property
    def quoted(self) -> str:
        """The lexeme in the notation of `tsquery`, whatever characters it holds."""
        return _quote_lexeme(self.lexeme)


class TextSearch:
    """Chunks by the words of a question, the rare ones first.

    A chunk needs only some of the words. Its score is the sum over the words it holds of their
    inverse document frequency times `ts_rank`, so that a rare word outweighs a common one and a
    word in a heading or in the document's title one in the text.
    """

    def __init__(self, connections: SearchConnections) -> None:
        self._connections = connections

    async def rank(self, query: str, *, limit: int, scope: SearchScope) -> dict[UUID, float]:
        """Return at most `limit` chunks' IDs with their scores, best first.

        None is found for a query that has no words, or only such as tell nothing ("what is the").

        Args:
            query: as `shorten_query` returns it.

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, or took
                longer than the limit.
        """
        if not query or limit < 1:
            return {}
        async with self._connections.open("full-text search") as connection:
            terms = await _read_terms(connection, query, scope)
            scores: dict[UUID, float] = {}
            for candidates in _candidate_queries(terms, scope):
                statement = _rank_chunks(candidates, terms, limit, scope.filters)
                rows = await connection.execute(statement)
                scores = {row.chunk_id: float(row.score) for row in rows}
                if len(scores) >= limit:
                    break
            return scores


def shorten_query(query: str) -> str:
    """Return what is searched for: `query` cleaned, of a long one beginning and end."""
    text = query.strip()
    if len(text) > 2 * _EDGE_CHARACTERS:
        text = f"{text[:_EDGE_CHARACTERS]}\n{text[-_EDGE_CHARACTERS:]}"
    return clean_text(text).strip()


async def _read_terms(connection: AsyncConnection, text: str, scope: SearchScope) -> list[_Term]:
    """Return the words of `text` that occur in the chunks, those that tell most first."""
    parsed = func.unnest(func.tsvector_to_array(func.to_tsvector(_CONFIGURATION, text)))
    lexemes = list(await connection.scalars(select(parsed)))
    chunk_counts: dict[str, int] = {}
    for lexeme in lexemes:
        share = scope.statistics.common_lexemes.get(lexeme, 0.0)
        estimate = round(share * scope.collection_chunks)
        if estimate >= _COUNTED_CHUNKS:
            chunk_counts[lexeme] = estimate
    rare = [lexeme for lexeme in lexemes if lexeme not in chunk_counts]
    if rare:
        counted = await connection.execute(_count_chunks_of_terms(rare, scope.filters.collection))
        chunk_counts |= {row.lexeme: row.chunk_count for row in counted}
    terms = [
        _Term(
            lexeme=lexeme,
            chunk_count=chunk_count,
            weight=_inverse_document_frequency(chunk_count, scope.collection_chunks),
        )
        for lexeme, chunk_count in chunk_counts.items()
        if chunk_count > 0
    ]
    terms.sort(key=lambda term: (-term.weight, term.lexeme))
    return terms[:_MAX_TERMS]


def _inverse_document_frequency(chunk_count: int, chunk_total: int) -> float:
    # As in BM25. Counts are of one moment, the total of another: never below zero.
    others = max(chunk_total - chunk_count, 0)
    return math.log(1 + (others + 0.5) / (chunk_count + 0.5))


def _count_chunks_of_terms(lexemes: Sequence[str], collection: str | None) -> Select[Any]:
    """How many chunks hold each lexeme, counted up to `_COUNTED_CHUNKS`."""
    terms = (
        func.unnest(
            cast(list(lexemes), ARRAY(Text)),
            cast([_quote_lexeme(lexeme) for lexeme in lexemes], ARRAY(Text)),
        )
        .table_valued(column("lexeme", Text), column("quoted", Text), name="terms")
        .render_derived(name="terms")
    )
    matching = (
        select(literal(1))
        .select_from(document_chunks)
        .where(document_chunks.c.search_vector.op("@@")(cast(terms.c.quoted, TSQUERY)))
        .where(*chunk_conditions(SearchFilters(collection=collection)))
        .limit(_COUNTED_CHUNKS)
    )
    counted = (
        select(func.count().label("chunk_count"))
        .select_from(matching.correlate(terms).lateral("matching"))
        .correlate(terms)
        .lateral("counted")
    )
    return select(terms.c.lexeme, counted.c.chunk_count).select_from(
        terms.join(counted, literal(True))
    )


def _candidate_queries(terms: Sequence[_Term], scope: SearchScope) -> Iterator[str]:
    """Yield queries for the chunks to rank; the next is for where one brings too few."""
    telling = list(_telling(terms, scope.selectivity))
    if not telling:
        return
    if sum(term.chunk_count for term in telling) * scope.selectivity > _MOST_CANDIDATES:
        *rare, broad = telling
        partners = list(_partners(broad, terms, scope))
        if partners:
            pairs = f"{broad.quoted} & ({_any_of(partners)})"
            yield f"{_any_of(rare)} | {pairs}" if rare else pairs
    yield _any_of(telling)


def _telling(terms: Sequence[_Term], selectivity: float) -> Iterator[_Term]:
    """Yield the rarest terms until they bring enough candidates.

    A chunk that holds only the commoner words of the question could hardly come out on top of
    hundreds that hold a rarer one; passing over it bounds the work of a search.
    """
    candidate_count = 0.0
    for term in terms:
        expected = term.chunk_count * selectivity
        if candidate_count >= _FEWEST_CANDIDATES and candidate_count + expected > _MOST_CANDIDATES:
            return
        yield term
        candidate_count += expected


def _partners(broad: _Term, terms: Sequence[_Term], scope: SearchScope) -> Iterator[_Term]:
    """Yield the rarest other terms until enough chunks should hold one of them beside `broad`.

    What a common word is found with tells more than the common word.
    """
    candidate_count = 0.0
    for term in terms:
        if candidate_count >= _FEWEST_PAIRED_CANDIDATES:
            return
        if term is not broad:
            yield term
            share = term.chunk_count / max(scope.collection_chunks, term.chunk_count)
            candidate_count += scope.selectivity * broad.chunk_count * share


def _rank_chunks(
    candidates: str, terms: Sequence[_Term], limit: int, filters: SearchFilters
) -> Select[Any]:
    vector = document_chunks.c.search_vector
    candidate = (
        select(document_chunks.c.chunk_id, vector.label("vector"))
        .where(vector.op("@@")(_tsquery(candidates)))
        .where(*chunk_conditions(filters))
        .limit(_MOST_RANKED_CHUNKS)
        .subquery("candidate")
    )
    score = _score(candidate.c.vector, terms).label("score")
    return (
        select(candidate.c.chunk_id, score)
        .order_by(score.desc(), candidate.c.chunk_id)
        .limit(limit)
    )


def _score(vector: ColumnElement[Any], terms: Sequence[_Term]) -> ColumnElement[float]:
    weights = cast(list(_POSITION_WEIGHTS), ARRAY(REAL))
    words: ColumnElement[float] = literal(0.0)
    for term in terms:
        words = words + literal(term.weight) * func.ts_rank(weights, vector, _tsquery(term.quoted))
    return words


def _tsquery(text: str) -> ColumnElement[str]:
    return cast(literal(text, Text), TSQUERY)


def _any_of(terms: Sequence[_Term]) -> str:
    return " | ".join(term.quoted for term in terms)


def _quote_lexeme(lexeme: str) -> str:
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
