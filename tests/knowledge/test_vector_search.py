"""The nearest of many vectors in the real PostgreSQL, with and without filters."""

import json
from collections.abc import AsyncIterator
from uuid import UUID

import numpy as np
import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.settings import RetrievalSettings, with_psycopg
from contracts.tables import EMBEDDING_DIMENSIONS
from knowledge.corpus_statistics import CorpusStatisticsReader
from knowledge.engine_connections import EngineConnections
from knowledge.ports import NO_FILTERS, FloatArray, SearchFilters
from knowledge.search_connections import SearchConnections
from knowledge.search_scope import read_scope
from knowledge.vector_search import VectorSearch
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.postgres import EmbeddedPostgres

CHUNKS = 20_000
DOCUMENTS = 1_000
CLUSTERS = 200
QUERIES = 30


def _make_vectors() -> FloatArray:
    """Vectors in clusters that lie on a few dozen axes, as those of texts do."""
    generator = np.random.default_rng(1)
    axes = generator.standard_normal((48, EMBEDDING_DIMENSIONS))
    centres = generator.standard_normal((CLUSTERS, 48)) @ axes
    spread = generator.standard_normal((CHUNKS, 48)) @ axes * 0.6
    vectors = centres[generator.integers(CLUSTERS, size=CHUNKS)] + spread
    normalised: FloatArray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")
    return normalised


VECTORS = _make_vectors()


def _make_queries() -> FloatArray:
    generator = np.random.default_rng(2)
    near = VECTORS[generator.integers(CHUNKS, size=QUERIES)]
    queries = near + generator.standard_normal(near.shape) * 0.02
    normalised: FloatArray = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype("f4")
    return normalised


@pytest.fixture(scope="module")
def filled_url(postgres_server: EmbeddedPostgres) -> str:
    """A database with the vectors, each document's number telling the filters it passes."""
    ensure_database(postgres_server.url("postgres"), "vectors")
    url = postgres_server.url("vectors")
    migrate(with_psycopg(url))
    with psycopg.connect(url) as connection:
        connection.execute("DROP INDEX ix_document_chunks__embedding")
        with connection.cursor().copy(
            "COPY documents (document_id, collection, source, title, media_type, content_sha256,"
            " chunk_count, attributes) FROM STDIN"
        ) as copy:
            for number in range(DOCUMENTS):
                shares = {"tenth": f"{number % 10}", "hundredth": f"{number % 100}"}
                copy.write_row(
                    (
                        UUID(int=number),
                        "most" if number % 10 < 7 else "rest",
                        f"document-{number}.md",
                        "Title",
                        "text/markdown",
                        b"",
                        CHUNKS // DOCUMENTS,
                        json.dumps(shares),
                    )
                )
        with connection.cursor().copy(
            "COPY document_chunks (chunk_id, document_id, collection, position, heading_path,"
            " headings, content, token_estimate, embedding) FROM STDIN"
        ) as copy:
            for number, vector in enumerate(VECTORS):
                document = number % DOCUMENTS
                copy.write_row(
                    (
                        UUID(int=number),
                        UUID(int=document),
                        "most" if document % 10 < 7 else "rest",
                        number // DOCUMENTS,
                        "{}",
                        "Title",
                        "Text",
                        1,
                        str(vector.tolist()),
                    )
                )
        connection.execute("SET maintenance_work_mem = '256MB'")
        connection.execute(
            "CREATE INDEX ix_document_chunks__embedding ON document_chunks"
            " USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 200)"
        )
        connection.execute("ANALYZE documents, document_chunks")
    return url


@pytest.fixture
async def engine(filled_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(with_psycopg(filled_url))
    yield engine
    await engine.dispose()


async def _measure_recall(engine: AsyncEngine, filters: SearchFilters, limit: int) -> float:
    """Return the share of the truly nearest chunks that are found, after checks of the scores."""
    connections = SearchConnections(
        EngineConnections(engine),
        timeout_seconds=30,
        ef_search=RetrievalSettings().hnsw_ef_search,
    )
    search = VectorSearch(connections)
    scope = await read_scope(connections, CorpusStatisticsReader(connections), filters)
    passing = np.array([_passes(number % DOCUMENTS, filters) for number in range(CHUNKS)])
    expected_count = min(limit, int(passing.sum()))
    assert scope.matching_chunks == passing.sum()
    hits = 0
    for query in _make_queries():
        similarities = np.where(passing, VECTORS @ query, -2)
        nearest = set(np.argsort(-similarities)[:expected_count].tolist())

        found = await search.rank(query, limit=limit, scope=scope)

        assert len(found) == expected_count
        scores = list(found.values())
        assert scores == sorted(scores, reverse=True)
        for chunk_id, score in found.items():
            assert score == pytest.approx(similarities[chunk_id.int], abs=1e-5)
        hits += len(nearest.intersection(each.int for each in found))
    return hits / (QUERIES * expected_count)


def _passes(document: int, filters: SearchFilters) -> bool:
    shares = {"tenth": str(document % 10), "hundredth": str(document % 100)}
    return (
        (
            not filters.collections
            or ("most" if document % 10 < 7 else "rest") in filters.collections
        )
        and (not filters.sources or f"document-{document}.md" in filters.sources)
        and all(shares[name] == value for name, value in filters.attributes.items())
    )


FILTERS = {
    "all": NO_FILTERS,
    "70 %": SearchFilters(collections=("most",)),
    "30 %": SearchFilters(collections=("rest",)),
    "10 %": SearchFilters(attributes={"tenth": "4"}),
    "1 %": SearchFilters(attributes={"hundredth": "37"}),
    "1 %, all conditions": SearchFilters(
        collections=("most",),
        sources=tuple(f"document-{number}.md" for number in range(500)),
        attributes={"tenth": "3", "hundredth": "13"},
    ),
    "0.1 %": SearchFilters(sources=("document-500.md",)),
}


@pytest.mark.parametrize("limit", [10, 100])
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS.keys())
async def test_nearly_all_of_the_nearest_are_found(
    engine: AsyncEngine, filters: SearchFilters, limit: int
) -> None:
    assert await _measure_recall(engine, filters, limit) >= 0.97


@pytest.mark.parametrize("share", ["10 %", "1 %"])
async def test_the_walk_alone_brings_enough_through_a_filter(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    # As in a corpus so large that even a small share is too much to compare.
    monkeypatch.setattr("knowledge.vector_search._MOST_COMPARED_CHUNKS", 0)
    assert await _measure_recall(engine, FILTERS[share], 10) >= 0.97


async def test_what_lies_far_from_the_query_is_found_all_the_same(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.vector_search._MOST_COMPARED_CHUNKS", 0)
    monkeypatch.setattr("knowledge.search_connections._MAX_SCAN_TUPLES", 1)
    assert await _measure_recall(engine, FILTERS["0.1 %"], 20) == 1


async def test_no_results_are_wanted(engine: AsyncEngine) -> None:
    connections = SearchConnections(EngineConnections(engine))
    scope = await read_scope(connections, CorpusStatisticsReader(connections), NO_FILTERS)
    assert await VectorSearch(connections).rank(VECTORS[0], limit=0, scope=scope) == {}
