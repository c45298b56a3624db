"""The evaluation as a materialization, into the real database."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from dagster import ExecuteInProcessResult, RunRequest, TableMetadataValue

from assets.retrieval_evaluation import check_stages
from knowledge.evaluation.evaluation import Evaluation
from knowledge.evaluation.history import Conditions
from knowledge.evaluation.metrics import METRICS
from knowledge.evaluation.query_sets import EvaluationQuery, QuerySet
from knowledge.evaluation.stages import QuerySetResult
from knowledge.hybrid_search import RetrievalStage
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.hashing_encoder_engine import HASHING_MODEL
from tests.support.hashing_encoder_resource import HashingEncoderResource

JUDGED = """
[[query]]
text = "who turns the wheel"
relevant = [
  { grade = 3, source = "gates.md", heading = "Opening the heavy gates" },
  { grade = 2, source = "gone.md", phrase = "nobody" },
]
"""


@pytest.fixture
def orchestrator(database_url: str, tmp_path: Path) -> Orchestrator:
    orchestrator = Orchestrator(
        database_url=database_url,
        nats_url="nats://127.0.0.1:1",
        encoder=HashingEncoderResource(),
    )
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "gates.md").write_text(
        "# Gates\n\n## Opening the heavy gates\n\nThe keeper turns a wheel.\n\n"
        "## Painting the iron parts\n\nRust is removed before.\n"
    )
    config = {"ops": {"document_chunks": {"config": {"paths": [str(folder)]}}}}
    orchestrator.run(RunRequest(job_name="ingest_documents", run_config=config))
    return orchestrator


def _evaluate(orchestrator: Orchestrator, **config: Any) -> ExecuteInProcessResult:
    run_config = {"ops": {"retrieval_evaluation": {"config": config}}}
    request = RunRequest(job_name="evaluate_retrieval", run_config=run_config)
    return orchestrator.run(request, raise_on_error=False)


def _metadata(result: ExecuteInProcessResult) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node("retrieval_evaluation")
    return {
        name: entry.records if isinstance(entry, TableMetadataValue) else entry.value
        for name, entry in materialization.metadata.items()
    }


def test_an_evaluation_shows_its_figures_and_keeps_them(
    orchestrator: Orchestrator, database_url: str, tmp_path: Path
) -> None:
    judged = tmp_path / "water.toml"
    judged.write_text(JUDGED)

    result = _evaluate(orchestrator, judged_files=[str(judged)], kinds=["headings"])
    first = _metadata(result)
    second = _metadata(_evaluate(orchestrator, judged_files=[str(judged)], kinds=["headings"]))

    figures = [each.data for each in first["figures"]]
    assert {each["query_set"] for each in figures} == {"judged:water", "headings"}
    assert {each["stage"] for each in figures} == {"text", "vector", "hybrid", "hybrid+rerank"}
    assert first["judgements_unresolved"] == 1
    assert first["stages"].startswith("![Stages of retrieval over default](data:image/png;base64,")
    assert "history" not in first
    assert second["history"].startswith("![ndcg@10 over the evaluations](data:image/png;base64,")
    assert {each.data["change"] for each in second["figures"]} == {"+0.0000"}
    (kept,) = rows(
        database_url,
        "SELECT count(DISTINCT evaluation_id) AS evaluations, count(*) AS figures,"
        " min(embedding_model) AS model FROM retrieval_evaluations",
    )
    assert kept == {"evaluations": 2, "figures": 2 * len(figures), "model": "hashing"}
    (check,) = result.get_asset_check_evaluations()
    assert check.check_name == "each_stage_earns_its_place"
    assert check.metadata["rerank_is_on"].value is True
    assert "nDCG@10" in check.metadata["headings: hybrid against text"].value


def _evaluation(ndcg: Mapping[RetrievalStage, float]) -> Evaluation:
    queries = [EvaluationQuery(f"query {number}", {UUID(int=1): 3}) for number in range(40)]
    values: dict[RetrievalStage, dict[str, Sequence[float]]] = {
        stage: {metric: [value] * len(queries) for metric in METRICS}
        for stage, value in ndcg.items()
    }
    return Evaluation(
        evaluation_id=UUID(int=2),
        evaluated_at=datetime.now(UTC),
        corpus="water",
        conditions=Conditions(1, "hashing", {"queries_sha256": {}}),
        model=HASHING_MODEL,
        results=[QuerySetResult(QuerySet("headings", queries), values)],
        unresolved=[],
        previous={},
    )


@pytest.mark.parametrize(
    ("text", "vector", "hybrid", "rerank", "is_reranked", "is_passed"),
    [
        (0.4, 0.5, 0.6, 0.7, True, True),
        (0.4, 0.5, 0.5, 0.5, True, True),
        (0.6, 0.5, 0.55, 0.7, True, False),
        (0.4, 0.5, 0.6, 0.55, True, False),
        (0.4, 0.5, 0.6, 0.55, False, True),
    ],
)
def test_a_stage_that_serves_may_not_be_worse_than_one_before(
    text: float, vector: float, hybrid: float, rerank: float, is_reranked: bool, is_passed: bool
) -> None:
    evaluation = _evaluation(
        {"text": text, "vector": vector, "hybrid": hybrid, "hybrid+rerank": rerank}
    )

    check = check_stages(evaluation, is_reranked=is_reranked)

    assert check.passed is is_passed
    assert ("worse" in (check.description or "")) is not is_passed
    assert len(check.metadata) == 5


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"collection": "desert"}, "'desert' has no chunks"),
        ({"kinds": ["titles"]}, "titles: no kind of known items"),
        ({"judged_files": ["/gone.toml"]}, "/gone.toml: No such file"),
    ],
)
def test_what_cannot_be_evaluated_fails_with_the_reason(
    orchestrator: Orchestrator, config: dict[str, Any], complaint: str
) -> None:
    result = _evaluate(orchestrator, **config)

    (failure,) = result.get_step_failure_events()
    assert complaint in str(failure.step_failure_data.error_display_string)
