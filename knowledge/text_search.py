"""Full-text search over the ingested documents' chunks in PostgreSQL."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Select,
    Text,
    any_,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.tables import document_chunks, documents
from knowledge.ports import Passage, SearchUnavailable
from knowledge.text_cleaning import clean_text, escape_surrogates

DEFAULT_TIMEOUT_SECONDS = 2.0

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
_MOST_RANKED_CHUNKS = 20_000
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
    weight: float
    """Inverse document frequency: how much the word tells one chunk from another."""


class PostgresTextIndex:
    """Passages by the words of a question, the rare ones first.

    A passage needs only some of the words. Its score is the sum over the words it holds of
    their inverse document frequency times `ts_rank`, so that a rare word outweighs a common one
    and a word in a heading or in the document's title one in the text.
    """

    def __init__(
        self, engine: AsyncEngine, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """
        Args:
            engine: of a migrated database, driver psycopg. Stays the caller's to dispose of.
            timeout_seconds: limit of each statement, kept by the server.
        """
        self._engine = engine
        self._timeout_milliseconds = max(1, round(timeout_seconds * 1000))

    async def search(
        self, query: str, *, top_k: int, collection: str | None = None
    ) -> list[Passage]:
        """Return at most `top_k` passages, best first.

        None is found for a query that has no words, or only such as tell nothing ("what is the").

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, or took
                longer than the limit.
        """
        text = _searchable_text(query)
        if not text or top_k < 1:
            return []
        if collection is not None:
            collection = escape_surrogates(collection)
        try:
            async with self._engine.connect() as connection:
                await self._limit_statements(connection)
                terms = await _read_terms(connection, text, collection)
                if not terms:
                    return []
                return await _rank_passages(connection, terms, top_k, collection)
        except (SQLAlchemyError, OSError) as error:
            raise SearchUnavailable(_describe(error)) from error

    async def has_documents(self) -> bool:
        """Return whether anything has been ingested.

        Raises:
            SearchUnavailable: as for `search`.
        """
        try:
            async with self._engine.connect() as connection:
                await self._limit_statements(connection)
                found = await connection.scalar(select(document_chunks.c.chunk_id).limit(1))
                return found is not None
        except (SQLAlchemyError, OSError) as error:
            raise SearchUnavailable(_describe(error)) from error

    async def _limit_statements(self, connection: AsyncConnection) -> None:
        limit = f"{self._timeout_milliseconds}ms"
        await connection.execute(select(func.set_config("statement_timeout", limit, True)))


def _describe(error: SQLAlchemyError | OSError) -> str:
    # SQLAlchemy's own text of a driver's error repeats the whole statement.
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return f"full-text search failed: {str(cause).strip() or type(cause).__name__}"


def _searchable_text(query: str) -> str:
    text = clean_text(query)
    if len(text) > 2 * _EDGE_CHARACTERS:
        text = f"{text[:_EDGE_CHARACTERS]}\n{text[-_EDGE_CHARACTERS:]}"
    return text.strip()


async def _read_terms(
    connection: AsyncConnection, text: str, collection: str | None
) -> list[_Term]:
    """Return the words of `text` that occur in the chunks, those that tell most first."""
    parsed = func.unnest(func.tsvector_to_array(func.to_tsvector(_CONFIGURATION, text)))
    lexemes = list(await connection.scalars(select(parsed)))
    if not lexemes:
        return []
    chunk_total = await connection.scalar(_count_all_chunks(collection))
    counted = await connection.execute(_count_chunks_of_terms(lexemes, collection))
    chunk_counts: dict[str, int] = {row.lexeme: row.chunk_count for row in counted}
    common = [lexeme for lexeme, count in chunk_counts.items() if count >= _COUNTED_CHUNKS]
    if common:
        for row in await connection.execute(_read_shares_of_common_terms(common)):
            estimate = round(row.share * int(chunk_total or 0))
            chunk_counts[row.lexeme] = max(_COUNTED_CHUNKS, estimate)
    terms = [
        _Term(
            lexeme=lexeme,
            chunk_count=chunk_count,
            weight=_inverse_document_frequency(chunk_count, int(chunk_total or 0)),
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


def _count_all_chunks(collection: str | None) -> Select[Any]:
    statement = select(func.coalesce(func.sum(documents.c.chunk_count), 0))
    if collection is not None:
        statement = statement.where(documents.c.collection == collection)
    return statement


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
        .limit(_COUNTED_CHUNKS)
    )
    if collection is not None:
        matching = matching.where(document_chunks.c.collection == collection)
    counted = (
        select(func.count().label("chunk_count"))
        .select_from(matching.correlate(terms).lateral("matching"))
        .correlate(terms)
        .lateral("counted")
    )
    return select(terms.c.lexeme, counted.c.chunk_count).select_from(
        terms.join(counted, literal(True))
    )


def _read_shares_of_common_terms(lexemes: Sequence[str]) -> Select[Any]:
    """The share of chunks that hold each lexeme, as ANALYZE last found it; rare ones are absent."""
    # The frequencies are followed by their extremes, which no element stands beside.
    common = (
        func.unnest(
            cast(cast(column("most_common_elems"), Text), ARRAY(Text)),
            column("most_common_elem_freqs"),
        )
        .table_valued(column("lexeme", Text), column("share", REAL), name="common")
        .render_derived(name="common")
    )
    return (
        select(common.c.lexeme, common.c.share)
        .select_from(table("pg_stats").join(common, literal(True)))
        .where(column("schemaname") == func.current_schema())
        .where(column("tablename") == document_chunks.name)
        .where(column("attname") == document_chunks.c.search_vector.name)
        .where(common.c.lexeme == any_(cast(list(lexemes), ARRAY(Text))))
    )


async def _rank_passages(
    connection: AsyncConnection, terms: Sequence[_Term], top_k: int, collection: str | None
) -> list[Passage]:
    telling = " | ".join(_quote_lexeme(term.lexeme) for term in _telling(terms))
    vector = document_chunks.c.search_vector
    # Concatenation and materialization decompress each vector once, not once for each term.
    candidates = select(
        document_chunks.c.chunk_id, vector.op("||")(cast("", TSVECTOR)).label("vector")
    ).where(vector.op("@@")(_tsquery(telling)))
    if collection is not None:
        candidates = candidates.where(document_chunks.c.collection == collection)
    candidate = candidates.limit(_MOST_RANKED_CHUNKS).cte("candidate").prefix_with("MATERIALIZED")
    score = _score(candidate.c.vector, terms).label("score")
    ranked = (
        select(candidate.c.chunk_id, score)
        .order_by(score.desc(), candidate.c.chunk_id)
        .limit(top_k)
        .subquery("ranked")
    )
    rows = await connection.execute(
        select(
            document_chunks.c.chunk_id,
            document_chunks.c.content,
            document_chunks.c.heading_path,
            document_chunks.c.collection,
            documents.c.title,
            documents.c.source,
            ranked.c.score,
        )
        .select_from(ranked)
        .join(document_chunks, document_chunks.c.chunk_id == ranked.c.chunk_id)
        .join(documents, documents.c.document_id == document_chunks.c.document_id)
        .order_by(ranked.c.score.desc(), ranked.c.chunk_id)
    )
    return [
        Passage(
            chunk_id=str(row.chunk_id),
            content=row.content,
            heading_path=tuple(row.heading_path),
            title=row.title,
            source=row.source,
            collection=row.collection,
            text_score=float(row.score),
        )
        for row in rows
    ]


def _telling(terms: Sequence[_Term]) -> Iterator[_Term]:
    """Yield the rarest terms until they bring enough candidates.

    A chunk that holds only the commoner words of the question could hardly come out on top of
    hundreds that hold a rarer one; passing over it bounds the work of a search.
    """
    candidate_count = 0
    for term in terms:
        if (
            candidate_count >= _FEWEST_CANDIDATES
            and candidate_count + term.chunk_count > _MOST_CANDIDATES
        ):
            return
        yield term
        candidate_count += term.chunk_count


def _score(vector: ColumnElement[str], terms: Sequence[_Term]) -> ColumnElement[float]:
    weights = cast(list(_POSITION_WEIGHTS), ARRAY(REAL))
    words: ColumnElement[float] = literal(0.0)
    for term in terms:
        query = _tsquery(_quote_lexeme(term.lexeme))
        words = words + literal(term.weight) * func.ts_rank(weights, vector, query)
    return words


def _tsquery(text: str) -> ColumnElement[str]:
    return cast(literal(text, Text), TSQUERY)


def _quote_lexeme(lexeme: str) -> str:
    """A lexeme in the notation of `tsquery`, whatever characters it holds."""
    escaped = lexeme.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
