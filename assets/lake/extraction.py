"""Reads an interval's rows from PostgreSQL as Arrow, a batch at a time (ADBC, binary COPY)."""

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy
from adbc_driver_postgresql import dbapi
from sqlalchemy import (
    ARRAY,
    Column,
    LargeBinary,
    Select,
    SmallInteger,
    Text,
    Uuid,
    cast,
    collate,
    func,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from assets.lake.intervals import OLDEST_RUNNING, Interval
from assets.lake.read_ahead import ReadAhead
from contracts.lake import LakeTable

_BATCH_BYTES = 8 * 1024 * 1024
_BATCHES_AHEAD = 4


class WatermarkAhead(Exception):
    """The lake has rows by transactions that this database server has not come to yet."""


@dataclass
class Extraction:
    """An interval's rows, in the order of the lake table's moment and key."""

    interval: Interval
    batches: Iterator[pa.Table]
    """Each with the columns that PostgreSQL has, JSON of a closed shape as lists and structs."""
    row_count: int = -1
    """As the database counts them, once this was left; the batches are to have held as many."""


@contextmanager
def extract(libpq_url: str, table: LakeTable, interval: Interval) -> Iterator[Extraction]:
    """Read the rows of `interval`, or up to the oldest running transaction if that is earlier.

    Raises:
        WatermarkAhead: the interval begins after what this server has come to.
        adbc_driver_manager.dbapi.OperationalError: the server cannot be reached.
    """
    with dbapi.connect(libpq_url) as connection, connection.cursor() as cursor:
        # The count and the rows are to be of one snapshot: a retention may be deleting.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(_sql(sqlalchemy.select(OLDEST_RUNNING)))
        oldest_running = _scalar(cursor)
        if oldest_running < interval.low:
            raise WatermarkAhead(
                f"the lake has {table.name} up to transaction {interval.low}, but this server"
                f" has come to {oldest_running} only: was the database restored elsewhere?"
            )
        final = Interval(interval.day, interval.low, min(interval.high, oldest_running))
        cursor.adbc_statement.set_options(
            **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
        )
        rows = _Rows(cursor, table, final)
        # The server is at the next rows while these are being shaped and written: whatever holds
        # the reading thread up, holds the server up too.
        with ReadAhead(rows.read(), limit=_BATCHES_AHEAD) as batches, _Shaping(table) as shaping:
            extraction = Extraction(final, map(shaping.apply, batches))
            yield extraction
        extraction.row_count = rows.count()


class _Rows:
    """The rows of an interval, and how many they are: both of the transaction's one snapshot."""

    def __init__(self, cursor: dbapi.Cursor, table: LakeTable, interval: Interval) -> None:
        self._cursor = cursor
        self._table = table
        self._interval = interval
        self._count: int | None = None

    def read(self) -> Generator[pa.Table, None, None]:
        self._cursor.execute(_sql(_rows_statement(self._table, self._interval)))
        with self._cursor.fetch_record_batch() as reader:
            for batch in reader:
                if batch.num_rows:
                    yield pa.Table.from_batches([batch])
        # Here, while the last of them are being written.
        self.count()

    def count(self) -> int:
        if self._count is None:
            statement = (
                sqlalchemy.select(func.count())
                .select_from(self._table.source)
                .where(self._interval.condition(self._table))
            )
            self._cursor.execute(_sql(statement))
            self._count = _scalar(self._cursor)
        return self._count


def _rows_statement(table: LakeTable, interval: Interval) -> Select[Any]:
    source = table.source
    return (
        sqlalchemy.select(*(_as_plain_type(column).label(column.name) for column in table.columns))
        .where(interval.condition(table))
        .order_by(source.c[table.moment], *(_in_byte_order(source.c[name]) for name in table.key))
    )


def _as_plain_type(column: "Column[Any]") -> sqlalchemy.ColumnElement[Any]:
    if isinstance(column.type, Uuid | JSONB):
        return cast(column, Text)
    if isinstance(column.type, LargeBinary):
        return func.encode(column, "hex")
    if isinstance(column.type, SmallInteger):
        return cast(column, sqlalchemy.Integer)
    if isinstance(column.type, ARRAY):
        return cast(column, ARRAY(Text))
    return column


def _in_byte_order(column: "Column[Any]") -> sqlalchemy.ColumnElement[Any]:
    """The audit compares text by its bytes, which a database's collation need not do."""
    if isinstance(column.type, Text):
        return collate(column, "C")
    return column


def _sql(statement: Select[Any]) -> str:
    """ADBC reads by COPY only where a statement has no parameters; ours are days and integers."""
    compiled = statement.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    # SQLAlchemy writes for drivers that take % as the start of a parameter.
    return str(compiled).replace("%%", "%")


def _scalar(cursor: dbapi.Cursor) -> int:
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the database answered a count with no row")
    return int(row[0])


class _Shaping:
    """Turns JSON columns of a closed shape into lists and structs, by DuckDB."""

    def __init__(self, table: LakeTable) -> None:
        self._replacements = ", ".join(
            f"from_json({name}, '{json.dumps(shape)}') AS {name}"
            for name, shape in table.shapes.items()
        )
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> "_Shaping":
        if self._replacements:
            self._connection = duckdb.connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def apply(self, rows: pa.Table) -> pa.Table:
        if self._connection is None:
            return rows
        self._connection.register("rows", rows)
        statement = f"SELECT * REPLACE ({self._replacements}) FROM rows"  # noqa: S608
        return self._connection.execute(statement).to_arrow_table()
