"""`sluice eval`: evaluates the stages of retrieval over the running platform's documents."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine

from contracts.settings import Settings, with_psycopg
from knowledge.encoding.in_process import InProcessEncoder
from knowledge.encoding.loading import load_encoder
from knowledge.encoding.remote_encoder import RemoteEncoder
from knowledge.evaluation.evaluation import Evaluation, EvaluationRequest, evaluate
from knowledge.ports import Encoder, EncoderUnavailable
from sluice.endpoints import Endpoints, find_endpoints

_ENCODER_TIMEOUT_SECONDS = 60.0


async def run_evaluation(
    settings: Settings,
    request: EvaluationRequest,
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate on the running platform's database, else on that of the settings.

    Args:
        on_progress: called with the queries that are done and those there are.

    Raises:
        knowledge.evaluation.evaluation.NothingToEvaluate: no chunks, or no queries.
        knowledge.evaluation.judged.UnreadableJudgements: a judged file is missing or wrong.
        knowledge.evaluation.stages.DegradedSearch: a stage could not be run as it should be.
        knowledge.encoding.model_directory.ModelDirectoryError: no encoder answers, and its model
            cannot be loaded.
        sqlalchemy.exc.SQLAlchemyError: the database failed.
    """
    endpoints = find_endpoints(settings)
    engine = create_async_engine(with_psycopg(endpoints.postgres))
    try:
        async with _open_encoder(settings, endpoints) as encoder:
            return await evaluate(
                engine, encoder, settings.retrieval, request, on_progress=on_progress
            )
    finally:
        await engine.dispose()


@asynccontextmanager
async def _open_encoder(settings: Settings, endpoints: Endpoints) -> AsyncIterator[Encoder | None]:
    """Yield the platform's encoder, or one in this process where none answers."""
    if not settings.encoder.enabled:
        yield None
        return
    target = endpoints.encoder_grpc or settings.encoder.target
    remote = RemoteEncoder(target, timeout_seconds=_ENCODER_TIMEOUT_SECONDS)
    try:
        encoder: Encoder = remote
        try:
            await remote.describe()
        except EncoderUnavailable:
            encoder = InProcessEncoder(load_encoder(settings.encoder, settings.models_dir))
        yield encoder
    finally:
        await remote.close()


def report_rows(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    """Return the figures as rows for programs; `change` is null where there is no earlier one."""
    return [
        {
            "corpus": figure.corpus,
            "query_set": figure.query_set,
            "stage": figure.stage,
            "metric": figure.metric,
            "value": round(figure.value, 4),
            "low": round(figure.low, 4),
            "high": round(figure.high, 4),
            "query_count": figure.query_count,
            "change": None if change is None else round(change, 4),
        }
        for figure in evaluation.figures
        for change in (evaluation.change(figure),)
    ]
