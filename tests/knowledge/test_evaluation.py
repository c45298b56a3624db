"""Whole evaluations over a real database, with the double of the encoder's engine."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.settings import RetrievalSettings
from knowledge.chunk_encoder import ChunkEncoder
from knowledge.documents import find_documents
from knowledge.embedding_models import require_model
from knowledge.encoding.in_process import InProcessEncoder
from knowledge.evaluation.evaluation import (
    Evaluation,
    EvaluationRequest,
    NothingToEvaluate,
    evaluate,
)
from knowledge.evaluation.history import read_history
from knowledge.evaluation.query_sets import EvaluationQuery, QuerySet
from knowledge.evaluation.stages import STAGES, DegradedSearch, evaluate_stages
from knowledge.hybrid_search import RetrievalStage
from knowledge.ingest import Ingest
from knowledge.ports import EncoderUnavailable, Encoding
from tests.support.hashing_encoder_engine import HASHING_MODEL, HashingEncoderEngine

SETTINGS = RetrievalSettings()
TOPICS = ("sluices", "lakes", "rivers", "canals", "weirs", "tunnels", "bridges", "harbours")
JUDGED = """
[[query]]
text = "who opens the gate of the harbours"
relevant = [{ grade = 3, source = "harbours.md", heading = "Opening the harbours gate" }]
[[query]]
text = "nothing of the kind"
relevant = [{ grade = 3, source = "deserts.md", heading = "Sand" }]
"""


class FailingEncoder(InProcessEncoder):
    """Describes its model, and fails to encode."""

    async def encode(self, texts: Sequence[str], **options: object) -> list[Encoding]:
        raise EncoderUnavailable("told to fail")


class FixedRanker:
    """Ranks the same chunks for every query, and notes how deep it was asked."""

    def __init__(self, ranking: Sequence[UUID]) -> None:
        self._ranking = ranking
        self.depths: set[int] = set()

    async def rank(self, query: str, stage: RetrievalStage, depth: int) -> Sequence[UUID]:
        self.depths.add(depth)
        return self._ranking


@pytest.fixture
def judged_file(tmp_path: Path) -> Path:
    file = tmp_path / "water.toml"
    file.write_text(JUDGED)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for topic in TOPICS:
        (folder / f"{topic}.md").write_text(
            f"# All about {topic}\n\n## Opening the {topic} gate\n\nThe keeper of {topic} turns a"
            f" wheel.\n\n## Building cost of {topic}\n\nMoney for {topic} is scarce.\n"
        )
    return folder


def _ingest(sqlalchemy_url: str, folder: Path, engine: HashingEncoderEngine | None) -> None:
    database = sqlalchemy.create_engine(sqlalchemy_url, poolclass=sqlalchemy.NullPool)
    with database.connect() as connection:
        if engine is not None:
            with connection.begin():
                require_model(connection, engine.model)
        ingest = Ingest(
            connection,
            collection="water",
            max_tokens=200,
            encoder=ChunkEncoder(engine, with_tokens=True) if engine else None,
        )
        list(ingest.run(list(find_documents([folder]))))


@pytest.fixture
async def database(sqlalchemy_url: str, folder: Path) -> AsyncIterator[AsyncEngine]:
    await asyncio.to_thread(_ingest, sqlalchemy_url, folder, HashingEncoderEngine())
    engine = create_async_engine(sqlalchemy_url)
    yield engine
    await engine.dispose()


def _encoder() -> InProcessEncoder:
    return InProcessEncoder(HashingEncoderEngine())


def _request(judged_file: Path) -> EvaluationRequest:
    return EvaluationRequest("water", (judged_file,), ("headings",), limit=20)


def _value(evaluation: Evaluation, query_set: str, stage: str, metric: str) -> float:
    (figure,) = [each for each in evaluation.figures if each.key == (query_set, stage, metric)]
    return figure.value


async def test_all_stages_are_measured_over_all_query_sets(
    database: AsyncEngine, judged_file: Path
) -> None:
    seen: list[tuple[int, int]] = []

    evaluation = await evaluate(
        database,
        _encoder(),
        SETTINGS,
        _request(judged_file),
        on_progress=lambda done, total: seen.append((done, total)),
    )

    assert {each.query_set for each in evaluation.figures} == {"judged:water", "headings"}
    assert {each.stage for each in evaluation.figures} == set(STAGES)
    assert all(each.low <= each.value <= each.high for each in evaluation.figures)
    for stage in STAGES:
        assert _value(evaluation, "headings", stage, "recall@100") == 1
        assert _value(evaluation, "judged:water", stage, "mrr@10") > 0
    assert _value(evaluation, "headings", "text", "ndcg@10") > 0.9
    assert seen[-1] == (17, 17)
    assert evaluation.conditions.chunk_count == 2 * len(TOPICS)
    assert evaluation.conditions.embedding_model == HASHING_MODEL.name
    assert "hnsw" in str(evaluation.conditions.settings["indexes"])
    assert [each for each in evaluation.unresolved if "deserts.md" in each]


async def test_figures_are_kept_and_a_change_is_seen(
    database: AsyncEngine, judged_file: Path
) -> None:
    request = _request(judged_file)
    first = await evaluate(database, _encoder(), SETTINGS, request)
    shallow = SETTINGS.model_copy(update={"candidates": 1, "rerank_depth": 1})
    second = await evaluate(database, _encoder(), shallow, request)
    async with database.connect() as connection:
        history = await read_history(connection, "water", metric="ndcg@10", limit=100)

    assert all(first.change(figure) is None for figure in first.figures)
    changes = {figure.key: second.change(figure) for figure in second.figures}
    for figure in second.figures:
        before = _value(first, *figure.key)
        assert changes[figure.key] == pytest.approx(figure.value - before)
    assert [each.evaluation_id for each in history] == sorted(
        (each.evaluation_id for each in history), key=str
    )
    assert {each.evaluation_id for each in history} == {first.evaluation_id, second.evaluation_id}
    assert history[-1].conditions.settings["candidates"] == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("who opens", "who is it that opens"),
        ('grade = 3, source = "harb', 'grade = 2, source = "harb'),
    ],
)
async def test_figures_of_other_queries_are_not_compared(
    database: AsyncEngine, judged_file: Path, before: str, after: str
) -> None:
    await evaluate(database, _encoder(), SETTINGS, _request(judged_file))
    judged_file.write_text(JUDGED.replace(before, after))
    second = await evaluate(database, _encoder(), SETTINGS, _request(judged_file))

    compared = {each.query_set for each in second.figures if second.change(each) is not None}
    assert compared == {"headings"}


async def test_without_an_encoder_full_text_alone_is_measured(
    database: AsyncEngine, judged_file: Path
) -> None:
    evaluation = await evaluate(database, None, SETTINGS, _request(judged_file))

    assert {each.stage for each in evaluation.figures} == {"text"}
    assert evaluation.conditions.embedding_model is None


async def test_without_stored_vectors_full_text_alone_is_measured(
    sqlalchemy_url: str, folder: Path, judged_file: Path
) -> None:
    await asyncio.to_thread(_ingest, sqlalchemy_url, folder, None)
    database = create_async_engine(sqlalchemy_url)
    try:
        evaluation = await evaluate(database, _encoder(), SETTINGS, _request(judged_file))
    finally:
        await database.dispose()

    assert {each.stage for each in evaluation.figures} == {"text"}


async def test_a_degraded_search_is_not_measured(database: AsyncEngine, judged_file: Path) -> None:
    with pytest.raises(DegradedSearch, match="told to fail"):
        await evaluate(
            database, FailingEncoder(HashingEncoderEngine()), SETTINGS, _request(judged_file)
        )

    async with database.connect() as connection:
        assert not await read_history(connection, "water", metric="ndcg@10", limit=1)


async def test_nothing_to_evaluate_is_said(database: AsyncEngine, tmp_path: Path) -> None:
    with pytest.raises(NothingToEvaluate, match="'desert' has no chunks"):
        await evaluate(database, _encoder(), SETTINGS, EvaluationRequest("desert"))
    with pytest.raises(NothingToEvaluate, match="no query"):
        await evaluate(database, _encoder(), SETTINGS, EvaluationRequest("water", kinds=()))


async def test_excluded_chunks_are_struck_from_the_ranking() -> None:
    held, wanted = UUID(int=1), UUID(int=2)
    ranker = FixedRanker([held, wanted])
    query = EvaluationQuery("a link", {wanted: 3}, frozenset({held}))

    result = await evaluate_stages(ranker, QuerySet("links", [query]), ("text",))

    assert result.values["text"]["mrr@10"] == [1.0]
    assert ranker.depths == {101}
