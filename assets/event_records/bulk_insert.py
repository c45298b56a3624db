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

    Rows go by COPY into the table itself, in parts that a savepoint holds. A part with a row that
    is there already, or that is refused, goes by COPY into a staging table instead, and from there
    by `INSERT … ON CONFLICT DO NOTHING`; so do all after it, since duplicates come in batches
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
        self._is_staging = False
        self._written = 0

    def add(self, items: Sequence[Item]) -> list[Refusal[Item]]:
        """Copy the items' rows; return those that PostgreSQL refuses.

        A refused row costs its neighbours nothing: its part is halved until it stands alone.
        """
        if not items:
            return []
        if not self._is_staging:
            try:
                self._copy(self._table, items)
            except (psycopg.DataError, psycopg.IntegrityError):
                self._begin_staging()
            else:
                self._written += len(items)
                return []
        return self._stage(items)

    def discard(self, condition: sql.Composable, among: sql.Composable) -> int:
        """Remove the added rows of `condition`, in which they are called `staged`.

        Args:
            among: finds what this transaction has added to the table, likewise.
        """
        from_table = self._delete(self._table, sql.SQL("{} AND {}").format(among, condition))
        self._written -= from_table
        if not self._is_staging:
            return from_table
        return from_table + self._delete(self._staging, condition)

    def insert(self) -> int:
        """Move the staged rows into the table; return how many of all added rows were new."""
        if self._is_staging:
            cursor = self._connection.execute(
                sql.SQL(
                    "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staging}"
                    " ON CONFLICT DO NOTHING"
                ).format(table=self._table, columns=self._columns, staging=self._staging)
            )
            self._written += cursor.rowcount
        return self._written

    def _begin_staging(self) -> None:
        self._is_staging = True
        self._connection.execute(
            sql.SQL("CREATE TEMP TABLE {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP").format(
                self._staging, self._table
            )
        )

    def _stage(self, items: Sequence[Item]) -> list[Refusal[Item]]:
        try:
            self._copy(self._staging, items)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(items) == 1:
                return [Refusal(items[0], str(error).strip())]
            middle = len(items) // 2
            return self._stage(items[:middle]) + self._stage(items[middle:])
        return []

    def _copy(self, target: sql.Identifier, items: Sequence[Item]) -> None:
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(target, self._columns)
        with (
            self._connection.transaction(),
            self._connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for item in items:
                copy.write_row(self._row_of(item))

    def _delete(self, target: sql.Identifier, condition: sql.Composable) -> int:
        statement = sql.SQL("DELETE FROM {} AS staged WHERE {}").format(target, condition)
        return self._connection.execute(statement).rowcount
