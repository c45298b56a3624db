"""Full-text search over the ingested documents' chunks in PostgreSQL."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import sql

from knowledge.lexeme_counts import LexemeCounts
from knowledge.ports import SearchFilters
from knowledge.search_connections import SearchConnection, SearchConnections
from knowledge.search_filters import chunk_condition, filter_parameters
from knowledge.search_scope import SearchScope
from knowledge.text_cleaning import clean_text

_EDGE_CHARACTERS = 1000
"""Of a longer query only beginning and end are searched for: there the question stands, while
what lies between is mostly pasted."""
_MAX_TERMS = 24
_COUNTED_CHUNKS = 1000
"""A word in more chunks than this is common: how common the planner's statistics tell."""
_FEWEST_CANDIDATES = 300
_MOST_CANDIDATES = 2000
_FEWEST_PAIRED_CANDIDATES = 1000
_MOST_RANKED_CHUNKS = 10_000
"""Even a word that is everywhere may be all there is to a question: then some of its chunks are
ranked, so that the search answers in time."""
_MOST_FILL_INS = 2000
"""Ranked to fill up what chunks with the telling words left of the limit."""
_POSITION_WEIGHTS = (0.1, 0.2, 0.6, 1.0)
"""Of a word in a place of class D, C, B (content) and A (headings), for `ts_rank`. Tried with
twenty questions on 1,666 pages of the Python and PostgreSQL manuals, 0.6 did better than 0.25 and
0.4. A premium for words that stand together, as in the question, made the order worse; a discount
for length changed nothing among chunks of at most 400 tokens."""


# 'english' is the configuration of `document_chunks.search_vector`.
_PARSE = "SELECT unnest(tsvector_to_array(to_tsvector('english'::regconfig, %(text)s)))"
_COUNT_CHUNKS_OF_TERMS = sql.SQL(
    """
    SELECT terms.lexeme, counted.chunk_count
    FROM unnest(%(lexemes)s::text[], %(quoted)s::text[]) AS terms (lexeme, quoted),
        LATERAL (
            SELECT count(*) AS chunk_count
            FROM (
                SELECT 1
                FROM document_chunks
                WHERE search_vector @@ terms.quoted::tsquery AND {condition}
                LIMIT %(limit)s
            ) AS matching
        ) AS counted
    """
)
_RANK = sql.SQL(
    """
    SELECT chunk_id, {score} AS score
    FROM (
        SELECT chunk_id, search_vector
        FROM document_chunks
        WHERE search_vector @@ %(candidates)s::tsquery AND {condition}
        LIMIT %(most_ranked)s
    ) AS candidate
    ORDER BY score DESC, chunk_id
    LIMIT %(limit)s
    """
)


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

    A chunk needs only some of the words. Its score is the share of the question that it covers,
    0 to 1: the sum over the words it holds of their inverse document frequency times `ts_rank`,
    over that of all words. A rare word outweighs a common one, and a word in a heading or in the
    document's title one in the text.
    """

    def __init__(self, connections: SearchConnections) -> None:
        self._connections = connections
        self._lexeme_counts = LexemeCounts()

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
            terms = await self._read_terms(connection, query, scope)
            found = [term for term in terms if term.chunk_count > 0][:_MAX_TERMS]
            scores: dict[UUID, float] = {}
            for candidates in _candidate_queries(found, scope):
                most_ranked = _MOST_FILL_INS if scores else _MOST_RANKED_CHUNKS
                more = await _rank_chunks(
                    connection, candidates, found, limit, most_ranked, scope.filters
                )
                scores = _best({**more, **scores}, limit) if scores else more
                if len(scores) >= limit:
                    break
        # A word takes part with its weight at most: `ts_rank` of one word does not exceed 1.
        whole = sum(term.weight for term in terms)
        return {chunk_id: score / whole for chunk_id, score in scores.items()}

    async def _read_terms(
        self, connection: SearchConnection, text: str, scope: SearchScope
    ) -> list[_Term]:
        """Return the words of `text`, those that tell most first."""
        parsed = await connection.execute(_PARSE, {"text": text})
        lexemes = [lexeme for (lexeme,) in await parsed.fetchall()]
        chunk_counts: dict[str, int] = {}
        for lexeme in lexemes:
            share = scope.statistics.common_lexemes.get(lexeme, 0.0)
            estimate = round(share * scope.collection_chunks)
            if estimate >= _COUNTED_CHUNKS:
                chunk_counts[lexeme] = estimate
        collections = scope.filters.collections
        rare = [lexeme for lexeme in lexemes if lexeme not in chunk_counts]
        chunk_counts |= self._lexeme_counts.find(collections, rare)
        uncounted = [lexeme for lexeme in rare if lexeme not in chunk_counts]
        if uncounted:
            counted = await _count_chunks_of_terms(connection, uncounted, collections)
            self._lexeme_counts.keep(collections, counted)
            chunk_counts |= counted
        terms = [
            _Term(
                lexeme=lexeme,
                chunk_count=chunk_count,
                weight=_inverse_document_frequency(chunk_count, scope.collection_chunks),
            )
            for lexeme, chunk_count in chunk_counts.items()
        ]
        terms.sort(key=lambda term: (-term.weight, term.lexeme))
        return terms


def shorten_query(query: str) -> str:
    """Return what is searched for: `query` cleaned, of a long one beginning and end."""
    text = query.strip()
    if len(text) > 2 * _EDGE_CHARACTERS:
        text = f"{text[:_EDGE_CHARACTERS]}\n{text[-_EDGE_CHARACTERS:]}"
    return clean_text(text).strip()


def _inverse_document_frequency(chunk_count: int, chunk_total: int) -> float:
    # As in BM25. Counts are of one moment, the total of another: never below zero.
    others = max(chunk_total - chunk_count, 0)
    return math.log(1 + (others + 0.5) / (chunk_count + 0.5))


async def _count_chunks_of_terms(
    connection: SearchConnection, lexemes: Sequence[str], collections: tuple[str, ...]
) -> dict[str, int]:
    """Count the chunks that hold each lexeme, up to `_COUNTED_CHUNKS`."""
    filters = SearchFilters(collections=collections)
    counted = await connection.execute(
        _COUNT_CHUNKS_OF_TERMS.format(condition=chunk_condition(filters)),
        {
            "lexemes": list(lexemes),
            "quoted": [_quote_lexeme(lexeme) for lexeme in lexemes],
            "limit": _COUNTED_CHUNKS,
            **filter_parameters(filters),
        },
    )
    return dict(await counted.fetchall())


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


async def _rank_chunks(
    connection: SearchConnection,
    candidates: str,
    terms: Sequence[_Term],
    limit: int,
    most_ranked: int,
    filters: SearchFilters,
) -> dict[UUID, float]:
    score = sql.SQL(" + ").join(
        sql.SQL(
            "{weight} * ts_rank(%(position_weights)s::real[], search_vector, {query}::tsquery)"
        ).format(weight=sql.Placeholder(f"weight{i}"), query=sql.Placeholder(f"query{i}"))
        for i in range(len(terms))
    )
    parameters: dict[str, Any] = {
        "candidates": candidates,
        "most_ranked": most_ranked,
        "limit": limit,
        "position_weights": list(_POSITION_WEIGHTS),
        **filter_parameters(filters),
    }
    for i, term in enumerate(terms):
        parameters[f"weight{i}"] = term.weight
        parameters[f"query{i}"] = term.quoted
    ranked = await connection.execute(
        _RANK.format(score=score, condition=chunk_condition(filters)), parameters, binary=True
    )
    return dict(await ranked.fetchall())


def _best(scores: Mapping[UUID, float], limit: int) -> dict[UUID, float]:
    ordered = sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
    return dict(ordered[:limit])


def _any_of(terms: Sequence[_Term]) -> str:
    return " | ".join(term.quoted for term in terms)


def _quote_lexeme(lexeme: str) -> str:
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
