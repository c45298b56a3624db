"""Tells whether the process of a run is still there.

Dagster learns of a run worker's death from the code server that started it; when both die, the
run would count as in progress for ever. A run therefore holds a PostgreSQL advisory lock, which
the server releases the moment the process or its connection is gone.
"""

import psycopg
from sqlalchemy import text

from contracts.settings import load_settings
from resources.postgres import PostgresResource

_KEY = "hashtextextended(:run_id, 0)"

_held: dict[str, "psycopg.Connection[tuple[object]]"] = {}


def hold_until_process_ends(postgres: PostgresResource, run_id: str) -> None:
    """Mark `run_id` as alive for as long as this process lives. Raises psycopg.OperationalError."""
    if run_id in _held:
        return
    connection = psycopg.connect(
        postgres.url or load_settings().database_url,
        autocommit=True,
        application_name="sluice-run",
    )
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [run_id])
    _held[run_id] = connection


def is_held(postgres: PostgresResource, run_id: str) -> bool:
    """Tell whether a living process holds `run_id`."""
    with postgres.begin() as connection:
        is_free = connection.scalar(
            text(f"SELECT pg_try_advisory_xact_lock({_KEY})"),
            {"run_id": run_id},
        )
    return not is_free
