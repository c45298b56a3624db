"""Full-text search in the real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import playwright
import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.settings import RetrievalSettings
from knowledge.chunking import chunk_document
from knowledge.document_store import refresh_statistics, store_document
from knowledge.documents import Document, find_documents, load_document
from knowledge.engine_connections import EngineConnections
from knowledge.hybrid_search import HybridIndex
from knowledge.ports import NO_FILTERS, Passage, PassageIndex, SearchFilters, SearchUnavailable
from tests.knowledge.passages import CANALS, GATES, LOCKS, heading, make_document, paragraph
from tests.support.ports import free_port


@pytest.fixture
async def engine(sqlalchemy_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def index(engine: AsyncEngine) -> HybridIndex:
    return HybridIndex(EngineConnections(engine), None, RetrievalSettings())


async def _find(
    index: HybridIndex, query: str, *, top_k: int = 5, filters: SearchFilters = NO_FILTERS
) -> list[Passage]:
    result = await index.search(query, top_k=top_k, filters=filters)
    assert (result.method, result.error) == ("text", None)
    return result.passages


def _ingest(url: str, *documents: Document, collection: str = "default") -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for document in documents:
            store_document(connection, document, chunk_document(document), collection=collection)
    engine.dispose()


async def test_some_of_the_words_are_enough_and_rare_ones_count_more(
    index: HybridIndex, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)

    found = await _find(
        index, "How often does one grease the unobtainium spindle in the channel's water?", top_k=5
    )

    assert len(found) == 5
    assert found[0].heading_path == ("Maintenance",)
    assert (found[0].title, found[0].source) == ("Sluice gates", "gates.md")
    assert found[0].collection == "default"
    scores = [passage.text_score or 0 for passage in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 2 * scores[1] > 0


async def test_a_word_in_a_heading_counts_more(index: HybridIndex, sqlalchemy_url: str) -> None:
    in_text = make_document(
        heading("Notes"), paragraph("On weirs and other things."), source="text.md", title="Notes"
    )
    in_heading = make_document(
        heading("Notes"),
        heading("Weirs", 2),
        paragraph("Low walls across a river."),
        source="heading.md",
        title="Notes",
    )
    in_title = make_document(paragraph("Walls, again."), source="title.md", title="All the weirs")
    _ingest(sqlalchemy_url, in_text, in_heading, in_title, *CANALS)

    found = await _find(index, "weir", top_k=5)

    assert {passage.source for passage in found[:2]} == {"heading.md", "title.md"}
    assert [passage.source for passage in found[2:]] == ["text.md"]


async def test_a_collection_is_searched_alone(index: HybridIndex, sqlalchemy_url: str) -> None:
    _ingest(sqlalchemy_url, GATES, collection="one")
    _ingest(sqlalchemy_url, LOCKS, collection="other")

    everywhere = await _find(index, "water of the channel", top_k=5)
    found = await _find(
        index, "water of the channel", top_k=5, filters=SearchFilters(collections=("other",))
    )

    assert {passage.source for passage in everywhere} == {"gates.md", "locks.md"}
    assert [passage.source for passage in found] == ["locks.md"]
    assert (
        await _find(index, "water", filters=SearchFilters(collections=("ab\x00sent\udfff",))) == []
    )


@pytest.mark.parametrize(
    "query",
    ["", "   ", "what is the", "?!…", "\x00", "\ud800", "unobtainium", "水門", "'", "\\", ":*"],
)
async def test_questions_that_find_nothing(
    index: HybridIndex, sqlalchemy_url: str, query: str
) -> None:
    _ingest(sqlalchemy_url, GATES)
    assert await _find(index, query, top_k=5) == []


@pytest.mark.parametrize(
    "query",
    [
        "gate & | ! ( ) <-> :* ' \\ '' \\' \" %s %(x)s :name ; DROP TABLE documents",
        "https://example.com/gate?a=b&c='d'\\ gate",
        "C:\\gate\\'spindle' gate",
        "gate\x00 \ud800 spindle",
        "gate " + "x" * 3000,
        "gate " + " ".join(f"word{i}" for i in range(50_000)),
        " ".join(f"word{i}" for i in range(50_000)) + " gate",
    ],
)
async def test_no_query_breaks_the_search(
    index: HybridIndex, sqlalchemy_url: str, query: str
) -> None:
    _ingest(sqlalchemy_url, GATES)
    found = await _find(index, query, top_k=5)
    assert {passage.source for passage in found} == {"gates.md"}


async def test_lexemes_with_quotes_and_backslashes_are_found(
    index: HybridIndex, sqlalchemy_url: str
) -> None:
    document = make_document(paragraph("See /var/o'neil\\data and http://host/it's?x='1'&y=2."))
    _ingest(sqlalchemy_url, document)
    for query in ("/var/o'neil\\data", "http://host/it's?x='1'&y=2"):
        assert len(await _find(index, query, top_k=5)) == 1


async def test_common_words_are_weighed_by_the_statistics(
    index: HybridIndex, engine: AsyncEngine, sqlalchemy_url: str
) -> None:
    pages = make_document(
        *(
            block
            for i in range(1500)
            for block in (
                heading(f"Section {i}", 2),
                paragraph(f"Water. {'Spillway.' if i % 500 == 7 else 'Channel.'}"),
            )
        ),
        title="Hydrology",
    )
    _ingest(sqlalchemy_url, pages)
    async with engine.begin() as connection:
        await connection.run_sync(refresh_statistics)

    found = await _find(index, "water spillway hydrology", top_k=4)

    assert ["Spillway" in passage.content for passage in found] == [True, True, True, False]
    # Every chunk holds both other words: next to nothing tells them apart.
    assert (found[3].text_score or 0) < 0.05 * (found[0].text_score or 0)


async def test_has_documents(index: HybridIndex, sqlalchemy_url: str) -> None:
    assert await index.has_documents() is False
    _ingest(sqlalchemy_url, GATES)
    assert await index.has_documents() is True


async def test_no_results_are_wanted(index: HybridIndex, sqlalchemy_url: str) -> None:
    _ingest(sqlalchemy_url, GATES)
    assert await _find(index, "gate", top_k=0) == []


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    engine = create_async_engine(f"postgresql+psycopg://x:y@127.0.0.1:{free_port()}/absent")
    index: PassageIndex = HybridIndex(EngineConnections(engine), None, RetrievalSettings())
    with pytest.raises(SearchUnavailable, match="reading the statistics failed"):
        await index.search("gate", top_k=5)
    with pytest.raises(SearchUnavailable):
        await HybridIndex(EngineConnections(engine), None, RetrievalSettings()).has_documents()
    await engine.dispose()


async def test_a_database_without_tables_is_unavailable(
    index: HybridIndex, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE document_chunks"))
    with pytest.raises(SearchUnavailable, match="does not exist"):
        await index.search("gate", top_k=5)


async def test_a_search_that_takes_too_long_is_given_up(
    engine: AsyncEngine, database_url: str, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES)
    index = HybridIndex(EngineConnections(engine), None, RetrievalSettings(timeout_seconds=0.2))
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE document_chunks IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(SearchUnavailable, match="statement timeout"):
            await index.search("gate", top_k=5)
        assert time.monotonic() - started < 2
        blocker.rollback()
    assert len(await _find(index, "gate", top_k=5)) == 2


async def test_searches_run_side_by_side(index: HybridIndex, sqlalchemy_url: str) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    results = await asyncio.gather(*(index.search("spindle", top_k=1) for _ in range(40)))
    assert all(found.passages[0].heading_path == ("Maintenance",) for found in results)


PLAYWRIGHT_GUIDES = Path(playwright.__file__).parent / "driver/package/lib/tools/skills"
QUESTIONS = [
    ("How do I record a video of what the browser does?", "video-recording.md"),
    (
        "How can I keep cookies and local storage so that I need not log in again?",
        "storage-state.md",
    ),
    ("How do I generate a test from my actions?", "test-generation.md"),
    ("Can several browser sessions run at the same time?", "session-management.md"),
    ("How to run a piece of custom code in the page?", "running-code.md"),
    ("Which locators does a component test of a gallery story use?", "gallery-spec.md"),
]


async def test_real_guides_answer_real_questions(index: HybridIndex, sqlalchemy_url: str) -> None:
    paths = list(find_documents([PLAYWRIGHT_GUIDES]))
    guides = [load_document(path, source=path.name) for path in paths]
    assert len(guides) >= 8
    _ingest(sqlalchemy_url, *guides)

    answered = [
        guide in {passage.source for passage in await _find(index, question, top_k=3)}
        for question, guide in QUESTIONS
    ]

    assert sum(answered) >= len(QUESTIONS) - 1, answered
