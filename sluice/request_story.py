"""What is stored of one request, by its correlation ID."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from assets.event_records.kinds import RECORD_KINDS, RecordKind
from contracts.headers import CORRELATION_ID
from contracts.tables import dead_letters
from resources.postgres import PostgresResource
from sluice.dagster_api import ask

_TOLD = (
    "status", "dialect", "model", "backend", "api_key_name", "method", "hit_count",
    "function_name", "kind", "input_count", "token_count", "finish_reason", "duration_seconds",
    "first_token_seconds",
)  # fmt: skip
"""Columns that say what happened without saying what was said."""
_RUN_AROUND = """
query RunAround($job: String!, $before: Float!, $after: Float!) {
  runsOrError(
    filter: {pipelineName: $job, createdBefore: $before, updatedAfter: $after}, limit: 5
  ) {
    ... on Runs { results { runId status startTime endTime } }
  }
}
"""


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One row, or one dead letter."""

    at: datetime
    what: str
    """Name of its asset, or `dead letter`."""
    details: dict[str, Any]
    error: str | None = None
    job: str | None = None
    stored_at: datetime | None = None
    run: str | None = None
    """URL of the Dagster run that stored it; None where Dagster keeps it no more."""


def find_story(postgres: PostgresResource, correlation_id: str) -> list[StoredEvent]:
    """Return the events of a request in the order of their time.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database fails.
    """
    events: list[StoredEvent] = []
    with postgres.connect() as connection:
        for kind in RECORD_KINDS:
            table = kind.table
            rows = connection.execute(select(table).where(table.c.correlation_id == correlation_id))
            events += [_event_of(kind, row._asdict()) for row in rows]
        letters = connection.execute(
            select(dead_letters).where(
                dead_letters.c.headers[CORRELATION_ID].astext == correlation_id
            )
        )
        events += [
            StoredEvent(
                at=row.published_at,
                what="dead letter",
                details={"id": row.dead_letter_id, "subject": row.subject, "reason": row.reason},
                error=row.error,
            )
            for row in letters
        ]
    return sorted(events, key=lambda each: each.at)


def _event_of(kind: RecordKind, row: dict[str, Any]) -> StoredEvent:
    details = {name: row[name] for name in _TOLD if row.get(name) is not None}
    failures = [stage for stage in row.get("stages", ()) if stage.get("status", "ok") != "ok"]
    if "stages" in row:
        details["stages"] = ", ".join(
            f"{each['name']} {each['duration_seconds']:.3f} s" for each in row["stages"]
        )
    failed = "; ".join(f"{each['name']} {each['status']}" for each in failures)
    return StoredEvent(
        at=row["occurred_at"],
        what=kind.asset_name,
        details=details,
        error=row.get("error") or failed or None,
        job=kind.job_name,
        stored_at=row["ingested_at"],
    )


def with_runs(events: Sequence[StoredEvent], dagster_url: str) -> list[StoredEvent]:
    """Return `events` with the runs that stored them: of their job, at work at that moment.

    Raises:
        RunFailed: Dagster does not answer.
    """
    runs: dict[tuple[str, datetime], str | None] = {}
    found = []
    for each in events:
        run = None
        if each.job is not None and each.stored_at is not None:
            key = (each.job, each.stored_at)
            if key not in runs:
                runs[key] = _find_run(dagster_url, *key)
            run = runs[key]
        found.append(msgspec.structs.replace(each, run=run))
    return found


def _find_run(dagster_url: str, job: str, stored_at: datetime) -> str | None:
    moment = stored_at.timestamp()
    variables = {"job": job, "before": moment, "after": moment}
    answer = ask(dagster_url, _RUN_AROUND, variables)
    runs: Iterable[dict[str, Any]] = answer["runsOrError"].get("results", ())
    for run in runs:
        ended = run["endTime"]
        if (run["startTime"] or moment) <= moment and (ended is None or moment <= ended):
            return f"{dagster_url}/runs/{run['runId']}"
    return None
