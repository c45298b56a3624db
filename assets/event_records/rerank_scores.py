"""The MaxSim score of each query and chunk that retrieval has ranked, by model."""

import hashlib
from typing import Any
from uuid import UUID

from assets.event_records.derived_rows import DerivedRows
from contracts import tables
from contracts.events import Event
from contracts.payloads import Retrieval


def _score_rows(event: Event[Retrieval]) -> list[tuple[Any, ...]]:
    retrieval = event.payload
    # A query that was withheld has no hash of its own.
    if retrieval.rerank_model is None or event.content_capture != "full":
        return []
    query_sha256 = hashlib.sha256(retrieval.query.encode()).digest()
    return [
        (
            query_sha256,
            UUID(candidate.chunk_id),
            retrieval.rerank_model,
            candidate.maxsim_score,
            event.occurred_at,
        )
        for candidate in retrieval.candidates
        if candidate.maxsim_score is not None
    ]


RERANK_SCORES = DerivedRows(
    asset_name="rerank_scores",
    description=(
        "Score of each query (its SHA-256) and chunk that MaxSim has ranked, by model; of several"
        " the latest."
    ),
    group="retrieval",
    table=tables.rerank_scores,
    moment="scored_at",
    rows_of=_score_rows,
)
