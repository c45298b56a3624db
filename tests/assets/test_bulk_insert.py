"""Idempotent bulk inserts, and rows that PostgreSQL refuses."""

import uuid
from typing import Any

import psycopg
import pytest

from assets.event_records.bulk_insert import BulkInsert

_COLUMNS = ("id", "text", "amount")


@pytest.fixture
def connection(database_url: str) -> Any:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "CREATE TABLE things (id uuid PRIMARY KEY, text text NOT NULL, amount integer)"
        )
        yield connection


def _row(text: str | None = "text", amount: Any = 1) -> tuple[Any, ...]:
    return (uuid.uuid4(), text, amount)


def _inserter(connection: "psycopg.Connection[Any]") -> BulkInsert[tuple[Any, ...]]:
    return BulkInsert(connection, table="things", columns=_COLUMNS, row_of=lambda row: row)


def _count(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(*) FROM things").fetchone()
    assert row is not None
    return int(row[0])


def test_rows_are_written_once(connection: Any) -> None:
    rows = [_row() for _ in range(100)]
    first = _inserter(connection)
    assert first.add(rows) == []
    assert first.insert() == 100
    connection.commit()

    second = _inserter(connection)
    assert second.add([*rows[:40], _row(), rows[0]]) == []

    assert second.insert() == 1
    assert _count(connection) == 101


def test_refused_rows_stand_alone_and_cost_their_neighbours_nothing(connection: Any) -> None:
    rows = [_row() for _ in range(57)]
    rows[3] = _row(text=None)
    rows[20] = _row(text="with\0NUL")
    rows[56] = _row(amount=2**40)
    inserter = _inserter(connection)

    refusals = inserter.add(rows)

    assert [refusal.item for refusal in refusals] == [rows[3], rows[20], rows[56]]
    assert all(refusal.error for refusal in refusals)
    assert inserter.insert() == 54
    assert _count(connection) == 54


def test_nothing_is_staged_from_nothing(connection: Any) -> None:
    inserter = _inserter(connection)

    assert inserter.add([]) == []
    assert inserter.insert() == 0
