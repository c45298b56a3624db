"""Questions to the platform's database."""

from collections.abc import Sequence
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row


def rows(database_url: str, statement: LiteralString, *values: Any) -> list[dict[str, Any]]:
    """Return the rows of `statement`, by column name."""
    with psycopg.connect(database_url, row_factory=dict_row, connect_timeout=10) as connection:
        return connection.execute(statement, values).fetchall()


def count_by_correlation(
    database_url: str, table: LiteralString, correlation_ids: Sequence[str]
) -> dict[str, int]:
    """Return correlation ID → rows in `table`, for those of `correlation_ids` that have any."""
    found = rows(
        database_url,
        "SELECT correlation_id, count(*) AS count FROM " + table + " WHERE correlation_id = ANY(%s)"
        " GROUP BY correlation_id",
        list(correlation_ids),
    )
    return {each["correlation_id"]: each["count"] for each in found}
