"""Rows written by PostgreSQL's binary COPY (https://www.postgresql.org/docs/18/sql-copy.html)."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
import sqlalchemy
from pgvector.psycopg import register_vector
from psycopg import sql


def psycopg_connection(connection: sqlalchemy.Connection) -> "psycopg.Connection[tuple[object]]":
    """Return the driver's connection below `connection`, for COPY in the same transaction."""
    driver_connection = connection.connection.driver_connection
    if not isinstance(driver_connection, psycopg.Connection):
        raise TypeError(f"psycopg 3 is needed, not {type(driver_connection).__name__}")
    return driver_connection


def copy_rows(
    connection: sqlalchemy.Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Write `rows` into `table` in the caller's transaction.

    Binary COPY takes values only in the columns' own types, which are read from the database:
    text for text, `uuid.UUID` for uuid, a float32 array of one dimension for vector.

    Raises:
        psycopg.DataError, psycopg.IntegrityError: PostgreSQL refuses a row; none is written.
    """
    driver = psycopg_connection(connection)
    if driver.adapters.types.get("vector") is None:
        register_vector(driver)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    types = _column_types(driver, table)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([types[column] for column in columns])
        for row in rows:
            copy.write_row(row)


def _column_types(driver: "psycopg.Connection[Any]", table: str) -> dict[str, int]:
    found = driver.execute(
        "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
        (sql.Identifier(table).as_string(driver),),
    )
    return dict(found.fetchall())
