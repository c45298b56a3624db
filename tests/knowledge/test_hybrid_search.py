"""Hybrid search in the real PostgreSQL, with and without its parts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.settings import RetrievalSettings
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.chunking import chunk_document
from knowledge.document_store import store_document
from knowledge.documents import Document
from knowledge.embedding_models import require_model
from knowledge.engine_connections import EngineConnections
from knowledge.hybrid_search import HybridIndex, RetrievalStage
from knowledge.ports import (
    EmbeddingKind,
    Encoder,
    EncoderModel,
    EncoderUnavailable,
    Encoding,
    SearchFilters,
    SearchResult,
    SearchUnavailable,
)
from knowledge.rank_fusion import fuse_rankings
from tests.knowledge.passages import CANALS, GATES, LOCKS
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine
from tests.support.in_process_encoder import InProcessEncoder

STAGES: list[RetrievalStage] = ["text", "vector", "hybrid", "hybrid+rerank"]

QUESTION = "How often should I grease the spindle?"


class FailingEncoder(InProcessEncoder):
    """An encoder that breaks down when it is to encode."""

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        raise EncoderUnavailable("the encoder at 127.0.0.1:1 is gone")


class HangingEncoder(InProcessEncoder):
    """An encoder that never answers."""

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        await asyncio.Event().wait()
        raise AssertionError("nothing ends this wait")


class ReplacedEncoder(InProcessEncoder):
    """An encoder that is another one after its first answer."""

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        encodings = await super().encode(texts, kind=kind, with_tokens=with_tokens)
        self.engine = HashingEncoderEngine(replace(HASHING_MODEL, name="newer"))
        return encodings


@pytest.fixture
async def engine(sqlalchemy_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(sqlalchemy_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def encoder() -> InProcessEncoder:
    return InProcessEncoder(HashingEncoderEngine())


def _index(engine: AsyncEngine, encoder: Encoder | None, **settings: object) -> HybridIndex:
    return HybridIndex(
        EngineConnections(engine),
        encoder,
        RetrievalSettings(**settings),
        encoder_timeout_seconds=0.3,
    )


def _ingest(
    url: str,
    *documents: Document,
    collection: str = "default",
    model: EncoderModel | None = HASHING_MODEL,
) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        encoder = None
        if model is not None:
            require_model(connection, model)
            encoder = ChunkEncoder(HashingEncoderEngine(model), with_tokens=True)
        for document in documents:
            chunks = chunk_document(document)
            store_document(connection, document, chunks, collection=collection, encoder=encoder)
    engine.dispose()


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _stage_errors(result: SearchResult) -> dict[str, str | None]:
    return {stage.name: stage.error for stage in result.stages}


async def test_all_parts_work_together(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    result = await _index(engine, encoder).search(QUESTION, top_k=3)

    assert (result.method, result.error) == ("hybrid", None)
    assert _stage_errors(result) == {"embed": None, "search": None, "rerank": None}
    assert result.embedding_model == result.rerank_model == "hashing"
    assert result.dimensions == 256
    assert result.query_tokens == 8
    best = result.passages[0]
    assert (best.title, best.source, best.collection) == ("Sluice gates", "gates.md", "default")
    assert best.heading_path == ("Maintenance",)
    assert best.content == "Grease the spindle of the gate twice a year."
    for score in (best.text_score, best.vector_score, best.fused_score, best.maxsim_score):
        assert score is not None
        assert score > 0

    assert len(result.passages) == 3
    assert len(result.candidates) == 33
    assert [each.rank for each in result.candidates] == list(range(1, 34))
    assert [each.chunk_id for each in result.candidates[:3]] == [
        each.chunk_id for each in result.passages
    ]
    scores = [(each.fused_score or 0) / 2 + (each.maxsim_score or 0) for each in result.candidates]
    assert scores == sorted(scores, reverse=True)
    assert all(each.vector_score is not None for each in result.candidates)


async def test_each_stage_can_be_had_alone(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    index = _index(engine, encoder, rerank="off", rerank_depth=2)
    results = {stage: await index.search_stage(QUESTION, stage=stage, top_k=10) for stage in STAGES}
    ranked = {
        stage: [each.chunk_id for each in result.candidates] for stage, result in results.items()
    }

    assert [results[stage].method for stage in STAGES] == ["text", "vector", "hybrid", "hybrid"]
    assert all(each.text_score and not each.vector_score for each in results["text"].candidates)
    assert all(each.text_score is None for each in results["vector"].candidates)
    assert all(each.fused_score is None for each in results["vector"].candidates)
    scores = [each.vector_score or 0 for each in results["vector"].candidates]
    assert scores == sorted(scores, reverse=True)
    fused = [each.fused_score or 0 for each in results["hybrid"].candidates]
    assert fused == sorted(fused, reverse=True)
    assert set(ranked["hybrid"]) == {*ranked["text"], *ranked["vector"]}
    assert set(ranked["hybrid+rerank"][:2]) == set(ranked["hybrid"][:2])
    assert ranked["hybrid+rerank"][2:] == ranked["hybrid"][2:]
    assert [results[stage].rerank_model for stage in STAGES] == [None, None, None, "hashing"]
    usual = await index.search(QUESTION, top_k=10)
    assert usual.candidates == results["hybrid"].candidates


async def test_ranks_are_fused_where_the_setting_says_so(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    index = _index(engine, encoder, rerank="off", fusion="rrf")
    ranked = {
        stage: [
            each.chunk_id
            for each in (await index.search_stage(QUESTION, stage=stage, top_k=10)).candidates
        ]
        for stage in STAGES
    }

    assert ranked["hybrid"] == list(fuse_rankings(ranked["text"], ranked["vector"]))


@pytest.mark.parametrize(
    ("setting", "is_recommended", "is_reranked"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
async def test_the_setting_says_whether_maxsim_orders(
    engine: AsyncEngine,
    sqlalchemy_url: str,
    setting: str,
    is_recommended: bool,
    is_reranked: bool,
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    model = replace(HASHING_MODEL, is_rerank_recommended=is_recommended)
    index = _index(engine, InProcessEncoder(HashingEncoderEngine(model)), rerank=setting)
    result = await index.search(QUESTION, top_k=2)
    assert (result.rerank_model is not None) == is_reranked
    assert ("rerank" in _stage_errors(result)) == is_reranked


async def test_the_vectors_score_what_only_full_text_found(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    index = _index(engine, encoder, rerank="off", candidates=2)
    result = await index.search("water of channel number 17", top_k=4)
    by_vector = await index.search_stage("water of channel number 17", stage="vector", top_k=40)
    expected = {each.chunk_id: each.vector_score for each in by_vector.candidates}
    assert {each.chunk_id for each in result.passages} <= set(expected)
    for passage in result.passages:
        assert passage.vector_score == pytest.approx(expected[passage.chunk_id])


async def test_a_least_score_leaves_out_what_is_farther(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    index = _index(engine, encoder)
    everything = await index.search(QUESTION, top_k=50)
    scores = sorted((each.vector_score or 0 for each in everything.candidates), reverse=True)

    some = await index.search(QUESTION, top_k=50, min_score=scores[1] - 1e-6)
    none = await index.search(QUESTION, top_k=50, min_score=1.0)

    assert sorted((each.vector_score or 0 for each in some.passages), reverse=True) == scores[:2]
    assert (none.passages, len(none.candidates)) == ([], 33)
    without = await _index(engine, None).search(QUESTION, top_k=5, min_score=-1)
    assert (without.passages, without.method) == ([], "text")


@pytest.mark.parametrize("stage", STAGES)
async def test_filters_hold_at_every_stage(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str, stage: RetrievalStage
) -> None:
    german = replace(LOCKS, source="schleusen.md", attributes={"language": "de", "year": "2024"})
    english = replace(LOCKS, attributes={"language": "en"})
    _ingest(sqlalchemy_url, GATES, english, german, *CANALS, collection="one")
    _ingest(sqlalchemy_url, LOCKS, collection="other")
    index = _index(engine, encoder)

    async def sources(**filters: object) -> set[tuple[str, str]]:
        result = await index.search_stage(
            "the water of the channel", stage=stage, top_k=100, filters=SearchFilters(**filters)
        )
        assert len(result.candidates) == len(result.passages)
        return {(each.collection, each.source) for each in result.passages}

    locks = {("one", "locks.md"), ("one", "schleusen.md"), ("other", "locks.md")}
    assert await sources() >= locks
    assert await sources(collections=("other",)) == {("other", "locks.md")}
    assert await sources(sources=("locks.md",)) == {("one", "locks.md"), ("other", "locks.md")}
    assert await sources(sources=("locks.md", "schleusen.md")) == locks
    assert await sources(attributes={"language": "de"}) == {("one", "schleusen.md")}
    assert await sources(attributes={"language": "de", "year": "1999"}) == set()
    assert await sources(collections=("one",), sources=("locks.md",)) == {("one", "locks.md")}
    assert await sources(collections=("other",), attributes={"language": "de"}) == set()
    assert await sources(collections=("absent",)) == set()
    assert await sources(collections=("absent", "other")) == {("other", "locks.md")}
    assert await sources(sources=("a\udfff\x00",), attributes={"\ud800\x00": "'\"\x00"}) == set()


@pytest.mark.parametrize("query", ["", "  \n ", "\x00", "\u200b"])
async def test_an_empty_query_finds_nothing(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str, query: str
) -> None:
    _ingest(sqlalchemy_url, GATES)
    index = _index(engine, encoder)
    assert (await index.search(query, top_k=5)).passages == []
    assert (await index.search("gate", top_k=0)).passages == []
    assert encoder.queries == []


@pytest.mark.parametrize(
    "query",
    [
        "gate & | ! ( ) <-> :* ' \\ '' \\' \" %s %(x)s :name ; DROP TABLE documents",
        "水門 gate \ud800 spindle\x00 \u202e \U0001f6b0",
        "what is the",
        "水門",
        "gate " + "y" * 1_000_000,
        "word " * 200_000 + "gate",
    ],
)
async def test_no_query_breaks_the_search(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str, query: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    result = await _index(engine, encoder).search(query, top_k=5)
    assert (result.method, result.error, len(result.passages)) == ("hybrid", None, 3)
    assert all(len(each) < 2100 for each in encoder.queries)


async def test_a_failing_encoder_leaves_full_text(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    alone = await _index(engine, None).search(QUESTION, top_k=5)

    failed = await _index(engine, FailingEncoder(encoder.engine)).search(QUESTION, top_k=5)

    assert failed.passages == alone.passages
    assert failed.method == "text"
    assert _stage_errors(failed) == {
        "embed": "the encoder at 127.0.0.1:1 is gone",
        "search": None,
    }
    assert failed.error == "the encoder at 127.0.0.1:1 is gone"
    assert failed.embedding_model is failed.rerank_model is failed.dimensions is None


async def test_a_hanging_encoder_leaves_full_text(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    result = await _index(engine, HangingEncoder(encoder.engine)).search(QUESTION, top_k=5)
    assert (result.method, len(result.passages)) == ("text", 1)
    assert result.error == "the encoder did not answer within 0.3 s"


@pytest.mark.parametrize(
    ("model", "described"),
    [
        (replace(HASHING_MODEL, name="other"), "'other' (256 dimensions)"),
        (replace(HASHING_MODEL, dimensions=128), "'hashing' (128 dimensions)"),
    ],
)
async def test_vectors_of_another_model_are_not_compared(
    engine: AsyncEngine, sqlalchemy_url: str, model: EncoderModel, described: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    encoder = InProcessEncoder(HashingEncoderEngine(model))
    result = await _index(engine, encoder).search(QUESTION, top_k=5)
    assert (result.method, len(result.passages)) == ("text", 1)
    assert result.error == (
        f"the encoder serves {described}, but the stored vectors are of 'hashing' (256 dimensions)"
    )
    assert encoder.queries == []


async def test_an_encoder_replaced_in_mid_search_is_noticed(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    result = await _index(engine, ReplacedEncoder(encoder.engine)).search(QUESTION, top_k=5)
    assert result.method == "text"
    assert "'newer' (256 dimensions)" in (result.error or "")


async def test_chunks_without_vectors_are_found_by_full_text(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, model=None)
    index = _index(engine, encoder)
    before = await index.search(QUESTION, top_k=5)
    assert (before.method, before.error, len(before.passages)) == ("text", None, 1)
    assert encoder.queries == []

    _ingest(sqlalchemy_url, LOCKS)
    after = await _index(engine, encoder).search(QUESTION, top_k=5)
    assert (after.method, after.error) == ("hybrid", None)
    by_source = {each.source: each for each in after.passages}
    assert by_source["gates.md"].vector_score is by_source["gates.md"].maxsim_score is None
    assert by_source["locks.md"].maxsim_score is not None


async def test_full_text_may_fail_alone(
    engine: AsyncEngine, encoder: InProcessEncoder, database_url: str, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    index = _index(engine, encoder)
    # A function of that name before PostgreSQL's own, as full text's alone.
    _execute(
        database_url,
        "CREATE FUNCTION tsvector_to_array(tsvector) RETURNS text[] LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'no words today'; END $$",
    )
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    _execute(database_url, f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')

    result = await index.search(QUESTION, top_k=5)

    assert (result.method, len(result.passages)) == ("vector", 3)
    assert _stage_errors(result)["embed"] is None
    assert "no words today" in (result.error or "")


async def test_vectors_may_fail_alone(
    engine: AsyncEngine, encoder: InProcessEncoder, database_url: str, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    # As while the vectors of a model of other dimensions have just taken the place.
    _execute(
        database_url,
        "DROP INDEX ix_document_chunks__embedding;"
        "ALTER TABLE document_chunks ALTER embedding TYPE vector(2) USING '[1,0]'",
    )
    result = await _index(engine, encoder).search(QUESTION, top_k=5)
    assert (result.method, len(result.passages)) == ("text", 1)
    assert "vector search failed: different vector dimensions 2 and 256" in (result.error or "")


async def test_unreadable_token_vectors_leave_the_fused_order(
    engine: AsyncEngine, encoder: InProcessEncoder, database_url: str, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS)
    _execute(database_url, "UPDATE document_chunks SET token_vectors = '\\x0901'")
    index = _index(engine, encoder)
    result = await index.search(QUESTION, top_k=5)
    fused = await index.search_stage(QUESTION, stage="hybrid", top_k=5)
    assert [each.chunk_id for each in result.passages] == [e.chunk_id for e in fused.passages]
    assert result.rerank_model is None
    assert (result.error or "").startswith("reranking failed: 2 bytes")


async def test_nothing_searchable_is_unavailable(
    engine: AsyncEngine, encoder: InProcessEncoder, database_url: str, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES)
    index = _index(engine, FailingEncoder(encoder.engine))
    with pytest.raises(SearchUnavailable, match="is gone"):
        await index.search_stage(QUESTION, stage="vector", top_k=5)
    _execute(database_url, "DROP TABLE document_chunks")
    with pytest.raises(SearchUnavailable, match="does not exist"):
        await index.search(QUESTION, top_k=5)
    with pytest.raises(SearchUnavailable, match="does not exist"):
        await index.has_documents()


async def test_a_stage_that_needs_an_encoder_says_so(engine: AsyncEngine) -> None:
    with pytest.raises(ValueError, match="'hybrid' needs an encoder"):
        await _index(engine, None).search_stage(QUESTION, stage="hybrid", top_k=5)


async def test_an_empty_database_has_nothing(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    index = _index(engine, encoder)
    assert not await index.has_documents()
    assert (await index.search(QUESTION, top_k=5)).passages == []
    assert (await index.search_stage(QUESTION, stage="vector", top_k=5)).passages == []
    _ingest(sqlalchemy_url, GATES)
    # What was not there is not remembered.
    assert await index.has_documents()
    assert (await index.search(QUESTION, top_k=5)).method == "hybrid"


async def test_searches_run_side_by_side(
    engine: AsyncEngine, encoder: InProcessEncoder, sqlalchemy_url: str
) -> None:
    _ingest(sqlalchemy_url, GATES, LOCKS, *CANALS)
    index = _index(engine, encoder)
    results = await asyncio.gather(*(index.search(QUESTION, top_k=2) for _ in range(40)))
    assert {result.passages[0].heading_path for result in results} == {("Maintenance",)}
