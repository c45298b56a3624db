"""Retrieval events: their rows, and the MaxSim scores in them."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from dagster import AssetKey, ExecuteInProcessResult

from contracts.events import Event, encode_event, new_event
from contracts.payloads import Candidate, Retrieval
from contracts.subjects import PipelineSubject
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator
from tests.support.events import publish_bodies, publish_events

SENSOR = "nats_dagster_retrieve"
CHUNKS = ["6f1c1c2e-0000-5000-8000-000000000001", "6f1c1c2e-0000-5000-8000-000000000002"]
MODEL = "minilm-l6-v2-256d-int8"


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


def _retrieval(
    *scores: float | None, query: str = "Où est l'eau ?", chunk_ids: Sequence[str] = CHUNKS
) -> Event[Retrieval]:
    candidates = [
        Candidate(chunk_id=chunk_id, rank=rank, fused_score=0.03, maxsim_score=score)
        for rank, (chunk_id, score) in enumerate(zip(chunk_ids, scores, strict=True), 1)
    ]
    retrieval = Retrieval(
        query=query,
        method="hybrid",
        top_k=5,
        candidates=candidates,
        duration_seconds=0.01,
        embedding_model=MODEL,
        rerank_model=MODEL if any(score is not None for score in scores) else None,
    )
    return new_event(retrieval, correlation_id="request-1")


def _persist(
    orchestrator: Orchestrator, nats_url: str, *events: Event[Retrieval]
) -> ExecuteInProcessResult:
    asyncio.run(publish_events(nats_url, PipelineSubject.RETRIEVE, events))
    (result,) = orchestrator.drain(SENSOR)
    return result


def _rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def test_each_reranked_candidate_has_its_score(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    result = _persist(
        orchestrator, nats_url, _retrieval(0.75, None), _retrieval(None, None, query="other")
    )

    digest = hashlib.sha256("Où est l'eau ?".encode()).digest()
    statement = "SELECT query_sha256, chunk_id, model, score FROM rerank_scores"
    assert _rows(database_url, statement) == [(digest, UUID(CHUNKS[0]), MODEL, 0.75)]
    assert _rows(
        database_url, "SELECT status, rerank_model FROM retrieve_events ORDER BY stream_sequence"
    ) == [("ok", MODEL), ("ok", None)]
    (materialization,) = [
        event.step_materialization_data.materialization
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == AssetKey("rerank_scores")
    ]
    assert materialization.metadata["rows_written"].value == 1


def test_of_several_scores_the_latest_stays(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    now = datetime.now(UTC)
    second, first, older = (
        msgspec.structs.replace(event, occurred_at=now - timedelta(seconds=age))
        for age, event in enumerate(
            [_retrieval(0.3, 0.4), _retrieval(0.1, 0.2), _retrieval(0.5, 0.6)]
        )
    )
    _persist(orchestrator, nats_url, first, second)
    _persist(orchestrator, nats_url, older)

    assert _rows(database_url, "SELECT score FROM rerank_scores ORDER BY score") == [(0.3,), (0.4,)]
    assert _rows(database_url, "SELECT count(*) FROM retrieve_events") == [(3,)]


def test_an_event_of_before_the_scores_had_a_model_is_written(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    event = json.loads(encode_event(_retrieval(0.1, 0.2)))
    for name in ("status", "error", "embedding_model", "rerank_model"):
        event["payload"].pop(name, None)

    asyncio.run(publish_bodies(nats_url, PipelineSubject.RETRIEVE, [json.dumps(event).encode()]))
    orchestrator.drain(SENSOR)

    statement = "SELECT status, error, embedding_model, rerank_model FROM retrieve_events"
    assert _rows(database_url, statement) == [("ok", None, None, None)]
    assert _rows(database_url, "SELECT count(*) FROM rerank_scores") == [(0,)]


def test_a_chunk_id_that_is_none_makes_a_dead_letter_and_costs_its_neighbours_nothing(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    bad = _retrieval(0.9, 0.8, query="bad", chunk_ids=[CHUNKS[0], "no UUID"])

    _persist(orchestrator, nats_url, bad, _retrieval(0.1, 0.2))

    assert _rows(database_url, "SELECT reason FROM dead_letters") == [("constraint_violation",)]
    assert _rows(database_url, "SELECT score FROM rerank_scores ORDER BY score") == [(0.1,), (0.2,)]
    assert _rows(database_url, "SELECT count(*) FROM retrieve_events") == [(1,)]
