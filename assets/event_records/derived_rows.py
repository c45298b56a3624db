"""Rows of a second table that events also bring, written in the same transaction."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from sqlalchemy import Table, column, select, table, text
from sqlalchemy.dialects.postgresql import insert

from contracts.events import Event
from contracts.tables import TRANSACTION_ID
from knowledge.bulk_copy import copy_rows


@dataclass(frozen=True)
class DerivedRows:
    """What an event brings besides its own row."""

    asset_name: str
    description: str
    group: str
    table: Table
    moment: str
    """Column of a row's age: of two rows with one key the younger stays."""
    rows_of: Callable[[Event[Any]], list[tuple[Any, ...]]]
    """Values of all columns but the transaction's.

    Raises ValueError where an event does not hold what it should.
    """


class BulkUpsert:
    """One table's bulk upsert within the caller's transaction, by COPY into a staging table."""

    def __init__(self, connection: sqlalchemy.Connection, derived: DerivedRows) -> None:
        self._connection = connection
        self._derived = derived
        self._names = [each.name for each in derived.table.columns if each.name != TRANSACTION_ID]
        self._staging = f"arriving_{derived.table.name}"
        connection.execute(
            text(
                f"CREATE TEMP TABLE {self._staging}"
                f" (LIKE {derived.table.name} INCLUDING DEFAULTS) ON COMMIT DROP"
            )
        )

    def stage(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Copy `rows` into the staging table."""
        copy_rows(self._connection, self._staging, self._names, rows)

    def merge(self) -> int:
        """Move the staged rows into the table; return how many were new or younger."""
        target = self._derived.table
        moment = self._derived.moment
        keys = [each.name for each in target.primary_key.columns]
        # A renewed row is of this transaction, like a new one.
        renewed = [each for each in (*self._names, TRANSACTION_ID) if each not in keys]
        arriving = table(self._staging, *(column(name) for name in self._names))
        youngest = (
            select(*arriving.columns)
            .distinct(*(arriving.c[name] for name in keys))
            # In the order of the keys, two batches cannot wait for each other.
            .order_by(*(arriving.c[name] for name in keys), arriving.c[moment].desc())
        )
        statement = insert(target).from_select(self._names, youngest)
        result = self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=keys,
                set_={name: statement.excluded[name] for name in renewed},
                where=target.c[moment] < statement.excluded[moment],
            ),
            execution_options={"preserve_rowcount": True},
        )
        return result.rowcount
