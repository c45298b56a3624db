"""Events that come late, and what the marts then are: for tests on both engines."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pyarrow as pa

from assets.lake.batch import move_day
from assets.lake.dbt_project import read_model_specs
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_rows import DAY, insert_everything, insert_rows

MARTS = [spec.key.path[-1] for spec in read_model_specs() if spec.key.path[0] == "marts"]

LONG_AGO = DAY - timedelta(days=10)
BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
CHANGED = (DAY - timedelta(days=2), DAY + timedelta(days=2))
"""The first and the last of the days to build after the late events."""
_DAYS = (LONG_AGO, BEFORE, DAY, AFTER, CHANGED[1])


def insert_early_events(connection: "psycopg.Connection[Any]") -> None:
    """Insert events of three days. They have correlation IDs in common, as a client may do."""
    insert_everything(connection, 200)
    for table in ("chat_history", "chat_pairs", "retrieve_events", "compose_events", "tool_calls"):
        insert_rows(connection, table, 60, day=LONG_AGO)
        insert_rows(connection, table, 40, day=CHANGED[1])


def insert_late_events(connection: "psycopg.Connection[Any]") -> None:
    """Insert events of days that have been built, and of requests on two sides of a midnight."""
    insert_rows(connection, "retrieve_events", 20, first=1000)
    for table in ("chat_history", "compose_events", "tool_calls", "flow_lineage"):
        insert_rows(connection, table, 20, first=1000, day=AFTER)
    insert_rows(connection, "tool_calls", 30, first=300, day=AFTER)
    insert_rows(connection, "chat_history", 30, first=300)
    # Earlier ones of conversations that were thought to be the first.
    insert_rows(connection, "chat_pairs", 50, first=400, day=BEFORE)


def move_everything(postgres: PostgresResource, lake: LakeResource) -> None:
    """Have the lake get what is new of each day."""
    for table in LAKE_TABLES:
        for day in _DAYS:
            move_day(table, day, postgres=postgres, lake=lake)


def read_marts(query: Callable[[str], pa.Table]) -> dict[str, list[str]]:
    """Return the rows of each mart, in an order that no engine chose, as text.

    Args:
        query: runs a statement.
    """
    return dict(_read_marts(query))


def _read_marts(query: Callable[[str], pa.Table]) -> Iterator[tuple[str, list[str]]]:
    for mart in MARTS:
        table = query(f"SELECT * FROM marts.{mart}")
        assert table.num_rows > 0, mart
        rows = [
            {
                name: value.timestamp() if hasattr(value, "timestamp") else value
                for name, value in row.items()
            }
            for row in table.to_pylist()
        ]
        yield mart, sorted(map(str, rows))
