"""Reads from PostgreSQL what the checker compares with the history."""

from collections import defaultdict
from collections.abc import Collection

import psycopg
from psycopg import sql

from tests.faults.checker import TABLES, Rows


def read_rows(database_url: str, *, before: Collection[str] = ()) -> Rows:
    """Read all events, responses and open dead letters.

    Args:
        before: correlation IDs that were there before the first call.
    """
    rows = Rows()
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        for table in TABLES:
            statement = sql.SQL("SELECT correlation_id, event_id::text FROM {}")
            events = defaultdict[str, list[str]](list)
            for key, event_id in connection.execute(statement.format(sql.Identifier(table))):
                if key not in before:
                    events[key].append(event_id)
            rows.events[table] = dict(events)
        rows.answers = dict(
            connection.execute("SELECT correlation_id, answer->>'content' FROM chat_history")
        )
        for key, name in connection.execute(
            "SELECT correlation_id, function_name FROM tool_calls ORDER BY position"
        ):
            rows.tools.setdefault(key, []).append(name)
        rows.lineage = dict(
            connection.execute("SELECT correlation_id, event_ids FROM flow_lineage")
        )
        rows.response_ids = {
            key for (key,) in connection.execute("SELECT response_id FROM api_responses")
        }
        rows.dead_letters = [
            f"{consumer} {subject} {sequence}: {reason}: {error}"
            for consumer, subject, sequence, reason, error in connection.execute(
                "SELECT consumer, subject, stream_sequence, reason, error FROM dead_letters"
                " WHERE replayed_at IS NULL AND dropped_at IS NULL"
            )
        ]
    return rows


def persisted_among(database_url: str, calls: dict[str, str]) -> set[str]:
    """Return which of the calls (correlation ID → kind) have their main row."""
    found: set[str] = set()
    with psycopg.connect(database_url, connect_timeout=3) as connection:
        connection.execute("SET statement_timeout = '5s'")
        for kind, statement in (
            ("chat", "SELECT correlation_id FROM chat_history WHERE correlation_id = ANY(%s)"),
            (
                "embeddings",
                "SELECT correlation_id FROM embedding_events WHERE correlation_id = ANY(%s)",
            ),
        ):
            wanted = [key for key, each in calls.items() if each == kind]
            if wanted:
                found.update(key for (key,) in connection.execute(statement, [wanted]))
    return found


def all_correlation_ids(database_url: str) -> set[str]:
    """Return those of all events that are there."""
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        return {
            key
            for table in TABLES
            for (key,) in connection.execute(
                sql.SQL("SELECT DISTINCT correlation_id FROM {}").format(sql.Identifier(table))
            )
        }
