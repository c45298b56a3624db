"""Writes rows by COPY, idempotently, and tells the rows apart that PostgreSQL refuses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from psycopg import sql

Item = TypeVar("Item")

RowOf = Callable[[Item], tuple[Any, ...]]


@dataclass(frozen=True)
class Refusal(Generic[Item]):
    """An item whose row violates a type or constraint, and what PostgreSQL said."""

    item: Item
    error: str


class BulkInsert(Generic[Item]):
    """One table's bulk insert within the caller's transaction.

    Rows go by COPY into a staging table, from there by `INSERT … ON CONFLICT DO NOTHING`
    (https://www.postgresql.org/docs/18/populate.html).
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        *,
        table: str,
        columns: Sequence[str],
        row_of: RowOf[Item],
    ) -> None:
        self._connection = connection
        self._row_of = row_of
        self._table = sql.Identifier(table)
        self._staging = sql.Identifier(f"staging_{table}")
        self._columns = sql.SQL(", ").join(map(sql.Identifier, columns))
        self._copy_statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            self._staging, self._columns
        )
        connection.execute(
            sql.SQL("CREATE TEMP TABLE {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP").format(
                self._staging, self._table
            )
        )

    def stage(self, items: Sequence[Item]) -> list[Refusal[Item]]:
        """Copy the items' rows into the staging table; return those that it refused.

        A refused row costs its neighbours nothing: the batch is halved until it stands alone.
        """
        if not items:
            return []
        try:
            with (
                self._connection.transaction(),
                self._connection.cursor() as cursor,
                cursor.copy(self._copy_statement) as copy,
            ):
                for item in items:
                    copy.write_row(self._row_of(item))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(items) == 1:
                return [Refusal(items[0], str(error).strip())]
            middle = len(items) // 2
            return self.stage(items[:middle]) + self.stage(items[middle:])
        return []

    def discard(self, condition: sql.Composable) -> int:
        """Remove the staged rows of `condition`, in which they are called `staged`."""
        statement = sql.SQL("DELETE FROM {} AS staged WHERE {}").format(self._staging, condition)
        return self._connection.execute(statement).rowcount

    def insert(self) -> int:
        """Move the staged rows into the table; return how many were new."""
        cursor = self._connection.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging}"
                " ON CONFLICT DO NOTHING"
            ).format(table=self._table, columns=self._columns, staging=self._staging)
        )
        return cursor.rowcount
