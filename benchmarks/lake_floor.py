"""The least that moving rows to Parquet takes: ADBC reads, PyArrow writes, nothing else.

`python -m benchmarks.lake_floor` reads a `BatchOrder` and prints the rows of each table and day and
the seconds they took. There is no order, no audit, no lists and structs from JSON, no field ID, no
partition, no commit; reading and writing take turns.
"""

import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from sqlalchemy import ARRAY, Column, LargeBinary, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from benchmarks.child_output import run_module
from benchmarks.lake_batches import TABLES, BatchOrder
from contracts.lake import LakeTable


class BareCopy(msgspec.Struct, frozen=True):
    """A table's rows of a day, as a Parquet file."""

    table: str
    row_count: int
    seconds: float
    file_bytes: int


def copy_days(order: BatchOrder) -> list[BareCopy]:
    """Have a process write the days to files in the order's warehouse, a folder's path."""
    lines = run_module("benchmarks.lake_floor", msgspec.json.encode(order))
    return [msgspec.json.decode(line, type=BareCopy) for line in lines]


def _copy(order: BatchOrder) -> Iterator[BareCopy]:
    for day in order.days:
        for name in order.tables:
            file = Path(order.warehouse) / f"{name}-{day}.parquet"
            started = time.monotonic()
            rows = _copy_day(order.database_url, TABLES[name], day, file)
            yield BareCopy(name, rows, time.monotonic() - started, file.stat().st_size)


def _copy_day(database_url: str, table: LakeTable, day: date, file: Path) -> int:
    columns = ", ".join(map(_plain, table.columns))
    statement = (
        f"SELECT {columns} FROM {table.name} WHERE {table.moment} >= '{day} 00:00+00'"
        f" AND {table.moment} < '{day} 00:00+00'::timestamptz + INTERVAL '1 day'"
    )
    rows = 0
    with dbapi.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        with (
            cursor.fetch_record_batch() as reader,
            pq.ParquetWriter(file, reader.schema, compression="zstd") as writer,
        ):
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
    return rows


def _plain(column: "Column[object]") -> str:
    """Return the column as a type that Parquet has."""
    if isinstance(column.type, Uuid | JSONB):
        return f"{column.name}::text"
    if isinstance(column.type, LargeBinary):
        return f"encode({column.name}, 'hex') AS {column.name}"
    if isinstance(column.type, ARRAY) and not isinstance(column.type.item_type, Text):
        return f"{column.name}::text[]"
    return column.name


if __name__ == "__main__":
    for copied in _copy(msgspec.json.decode(sys.stdin.buffer.read(), type=BatchOrder)):
        print(msgspec.json.encode(copied).decode(), flush=True)
