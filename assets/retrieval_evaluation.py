"""How well each stage of retrieval finds what it should, over the ingested documents."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetSelection,
    Config,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
    asset,
    define_asset_job,
    in_process_executor,
)
from pydantic import Field

from contracts.settings import load_settings
from resources.encoder import EncoderResource
from resources.postgres import PostgresResource

if TYPE_CHECKING:
    # NumPy and what measures are for runs that do: every run imports this module.
    from knowledge.evaluation.evaluation import Evaluation, EvaluationRequest
    from knowledge.evaluation.history import PastFigure
    from knowledge.evaluation.stages import StageComparison
    from knowledge.ports import BlockingEncoder

EVALUATION_JOB = "evaluate_retrieval"
STAGES_EARN = "each_stage_earns_its_place"

_HISTORY_FIGURES = 400
_LOGGED_QUERIES = 100


class EvaluationConfig(Config):
    """What is evaluated, and with which queries."""

    collection: str = Field(default="default", min_length=1)
    judged_files: list[str] = Field(
        default_factory=list,
        description="Files of judged questions (TOML) on the code location's host.",
    )
    kinds: list[str] = Field(
        default=["headings", "links", "docstrings"],
        description="Of queries made from the documents themselves.",
    )
    limit: int = Field(default=300, ge=1, description="Queries of each kind, at most.")


@asset(
    deps=["document_chunks"],
    group_name="retrieval",
    description=(
        "nDCG, MRR and recall of full text, vectors, both fused, and both reranked, with judged"
        " questions and with queries made from the documents. Kept in `retrieval_evaluations`."
    ),
    kinds={"postgres"},
    owners=["team:data-platform"],
    check_specs=[
        AssetCheckSpec(
            STAGES_EARN,
            asset="retrieval_evaluation",
            description=(
                "Fused search is not worse than its parts, and reranking, where it is on, not"
                " worse than the fused order."
            ),
        )
    ],
)
def retrieval_evaluation(
    context: AssetExecutionContext,
    config: EvaluationConfig,
    postgres: PostgresResource,
    encoder: EncoderResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Run each stage over each query and keep the figures."""
    from knowledge.evaluation.evaluation import NothingToEvaluate
    from knowledge.evaluation.judged import UnreadableJudgements
    from knowledge.evaluation.known_items import UnknownItemKind
    from knowledge.evaluation.stages import DegradedSearch

    try:
        request = _make_request(config)
        with encoder.open() as engine:
            evaluation, history = asyncio.run(
                _evaluate(context, postgres.sqlalchemy_url, engine, request)
            )
    except (
        DegradedSearch,
        NothingToEvaluate,
        UnknownItemKind,
        UnreadableJudgements,
    ) as error:
        raise Failure(str(error)) from error
    for each in evaluation.unresolved:
        context.log.warning(f"no such passage: {each}")
    return MaterializeResult(
        metadata=_describe(evaluation, history),
        check_results=[check_stages(evaluation, is_reranked=_is_reranked(evaluation))],
    )


evaluation_job = define_asset_job(
    EVALUATION_JOB,
    selection=AssetSelection.assets("retrieval_evaluation"),
    description="Measures each stage of retrieval over a collection.",
    executor_def=in_process_executor,
)


def _make_request(config: EvaluationConfig) -> "EvaluationRequest":
    from knowledge.evaluation.evaluation import EvaluationRequest
    from knowledge.evaluation.known_items import parse_kinds

    return EvaluationRequest(
        collection=config.collection,
        judged_files=tuple(Path(file) for file in config.judged_files),
        kinds=parse_kinds(config.kinds),
        limit=config.limit,
    )


async def _evaluate(
    context: AssetExecutionContext,
    sqlalchemy_url: str,
    engine: "BlockingEncoder | None",
    request: "EvaluationRequest",
) -> "tuple[Evaluation, list[PastFigure]]":
    from sqlalchemy.ext.asyncio import create_async_engine

    from knowledge.encoding.in_process import InProcessEncoder
    from knowledge.evaluation.evaluation import evaluate
    from knowledge.evaluation.history import read_history
    from knowledge.evaluation.metrics import NDCG

    def log_progress(done: int, total: int) -> None:
        if done % _LOGGED_QUERIES == 0 or done == total:
            context.log.info(f"{done} of {total} queries")

    database = create_async_engine(sqlalchemy_url)
    try:
        evaluation = await evaluate(
            database,
            InProcessEncoder(engine) if engine is not None else None,
            load_settings().retrieval,
            request,
            on_progress=log_progress,
        )
        async with database.connect() as connection:
            history = await read_history(
                connection, request.collection, metric=NDCG, limit=_HISTORY_FIGURES
            )
    finally:
        await database.dispose()
    return evaluation, history


def _describe(evaluation: "Evaluation", history: "list[PastFigure]") -> dict[str, MetadataValue]:
    from assets.evaluation_plots import plot_history, plot_stages
    from knowledge.evaluation.metrics import NDCG

    conditions = evaluation.conditions
    metadata = {
        "corpus": MetadataValue.text(evaluation.corpus),
        "embedding_model": MetadataValue.text(conditions.embedding_model or "none"),
        "chunks": MetadataValue.int(conditions.chunk_count),
        "judgements_unresolved": MetadataValue.int(len(evaluation.unresolved)),
        "settings": MetadataValue.json(dict(conditions.settings)),
        "figures": _figure_table(evaluation),
        "stages": plot_stages(evaluation),
    }
    if len({past.evaluation_id for past in history}) > 1:
        metadata["history"] = plot_history(history, NDCG)
    return metadata


def _figure_table(evaluation: "Evaluation") -> MetadataValue:
    records = []
    for figure in evaluation.figures:
        change = evaluation.change(figure)
        records.append(
            TableRecord(
                {
                    "query_set": figure.query_set,
                    "stage": figure.stage,
                    "metric": figure.metric,
                    "value": round(figure.value, 4),
                    "low": round(figure.low, 4),
                    "high": round(figure.high, 4),
                    "queries": figure.query_count,
                    "change": "" if change is None else f"{change:+.4f}",
                }
            )
        )
    return MetadataValue.table(records)


def check_stages(evaluation: "Evaluation", *, is_reranked: bool) -> AssetCheckResult:
    """Fail where a stage that serves is worse than one before it, beyond chance.

    Args:
        is_reranked: whether the last stage is one that serves.
    """
    comparisons = [
        (result.query_set.name, comparison)
        for result in evaluation.results
        for comparison in result.comparisons
    ]
    worse = [
        f"{query_set}: {comparison}"
        for query_set, comparison in comparisons
        if comparison.difference.is_negative and (is_reranked or not _is_of_rerank(comparison))
    ]
    return AssetCheckResult(
        check_name=STAGES_EARN,
        passed=not worse,
        severity=AssetCheckSeverity.WARN,
        description="\n".join(worse) or None,
        metadata={
            "rerank_is_on": is_reranked,
            **{
                f"{query_set}: {comparison.stage} against {comparison.other}": str(comparison)
                for query_set, comparison in comparisons
            },
        },
    )


def _is_reranked(evaluation: "Evaluation") -> bool:
    rerank = load_settings().retrieval.rerank
    is_recommended = evaluation.model is not None and evaluation.model.is_rerank_recommended
    return rerank == "on" or (rerank == "auto" and is_recommended)


def _is_of_rerank(comparison: "StageComparison") -> bool:
    return comparison.stage == "hybrid+rerank"
