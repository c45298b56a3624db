"""What is recorded of a call's retrieval: payloads of its events, stages, timings."""

from collections.abc import Iterator
from typing import Any

from contracts.payloads import FlowStage, Payload, Retrieval, RetrievalTelemetry
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject
from gateway.chat.grounding import Grounding
from gateway.embedding_events import embedding_payloads
from gateway.retrieval import FAILED, OK, SearchOutcome
from knowledge.composition import best_score
from knowledge.ports import SearchResult, SearchStage

_FLOW_NAMES = {"embed": "embed", "search": "retrieve", "rerank": "rerank"}


def retrieval_payloads(grounding: Grounding) -> list[tuple[Subject, Payload]]:
    """Return what is published of a search and of what became of its passages."""
    search = grounding.search
    payloads: list[tuple[Subject, Payload]] = []
    if search.result is not None:
        payloads += _query_embedding_payloads(search.result)
    payloads.append((PipelineSubject.RETRIEVE, _retrieval(search)))
    payloads.append((TelemetrySubject.RETRIEVE, _retrieval_telemetry(search)))
    if grounding.composition is not None:
        payloads.append((PipelineSubject.COMPOSE, grounding.composition))
    return payloads


def retrieval_stages(grounding: Grounding, arrived: float) -> list[FlowStage]:
    """Return the stages that ran, in the order they began; `arrived` is in monotonic seconds."""
    search = grounding.search
    stages = [
        FlowStage(
            name=_FLOW_NAMES[stage.name],
            offset_seconds=stage.started - arrived,
            duration_seconds=stage.duration_seconds,
            status=OK if stage.error is None else FAILED,
            details=_details(stage, search),
        )
        for stage in _search_stages(search)
    ]
    if search.passages:
        stages.append(
            FlowStage(
                name="compose",
                offset_seconds=grounding.compose_started - arrived,
                duration_seconds=grounding.compose_seconds,
                details=_compose_details(grounding),
            )
        )
    stages.sort(key=lambda stage: stage.offset_seconds)
    return stages


def retrieval_timings(grounding: Grounding) -> Iterator[tuple[str, float]]:
    """Yield name and seconds of the stages that ran, as `Server-Timing` names them."""
    for stage in _search_stages(grounding.search):
        yield stage.name, stage.duration_seconds
    if grounding.search.passages:
        yield "compose", grounding.compose_seconds


def _search_stages(search: SearchOutcome) -> list[SearchStage]:
    if search.result is not None and search.result.stages:
        return search.result.stages
    return [SearchStage("search", search.started, search.duration_seconds, search.error)]


def _details(stage: SearchStage, search: SearchOutcome) -> dict[str, Any]:
    result = search.result
    details: dict[str, Any] = {}
    if stage.name == "search":
        details["hit_count"] = len(search.passages)
        if result is not None:
            details["candidate_count"] = len(result.candidates)
            details["method"] = result.method
    elif result is not None:
        model = result.embedding_model if stage.name == "embed" else result.rerank_model
        if model is not None:
            details["model"] = model
    if stage.error is not None:
        details["error"] = stage.error
    return details


def _compose_details(grounding: Grounding) -> dict[str, Any]:
    details: dict[str, Any] = {"token_budget": grounding.token_budget}
    composition = grounding.composition
    if composition is None:
        details.update(chunk_count=0, skipped="no passage fits into what is left of the context")
    else:
        details.update(chunk_count=len(composition.chunk_ids), token_count=composition.token_count)
    return details


def _query_embedding_payloads(result: SearchResult) -> list[tuple[Subject, Payload]]:
    if result.embedding_model is None or result.dimensions is None:
        return []
    return [
        payload
        for stage in result.stages
        if stage.name == "embed" and stage.error is None
        for payload in embedding_payloads(
            model=result.embedding_model,
            kind="query",
            input_count=1,
            dimensions=result.dimensions,
            duration_seconds=stage.duration_seconds,
            prompt_tokens=result.query_tokens,
        )
    ]


def _retrieval(search: SearchOutcome) -> Retrieval:
    result = search.result
    collections = search.plan.filters.collections
    return Retrieval(
        query=search.query,
        collection=collections[0] if len(collections) == 1 else None,
        method=search.method,
        top_k=search.plan.top_k,
        candidates=[] if result is None else result.candidates,
        duration_seconds=search.duration_seconds,
        status=search.status,
        error=search.error,
        embedding_model=None if result is None else result.embedding_model,
        rerank_model=None if result is None else result.rerank_model,
    )


def _retrieval_telemetry(search: SearchOutcome) -> RetrievalTelemetry:
    scores = (best_score(passage) for passage in search.passages)
    return RetrievalTelemetry(
        top_k=search.plan.top_k,
        hit_count=len(search.passages),
        scores=[score for score in scores if score is not None],
        duration_seconds=search.duration_seconds,
        method=search.method,
        status=search.status,
    )
