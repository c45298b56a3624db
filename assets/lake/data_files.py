"""Writes Arrow tables as data files of an Iceberg table, which a commit then makes part of it."""

import uuid
from collections.abc import Iterable, Iterator
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.io.pyarrow import _dataframe_to_data_files, schema_to_pyarrow

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table


def write_data_files(
    iceberg: "Table", batches: Iterable[pa.Table], file_bytes: int
) -> Iterator[list["DataFile"]]:
    """Write `batches`, all of one partition, in files of about `file_bytes` of Arrow each.

    PyIceberg's own append would hold all rows in memory, or make a snapshot of each file
    (https://github.com/apache/iceberg-python/issues/2152).
    """
    schema = schema_to_pyarrow(iceberg.schema(), include_field_ids=False)
    write_id, numbers = uuid.uuid4(), count()
    for rows in _gather(batches, file_bytes):
        yield list(
            _dataframe_to_data_files(
                table_metadata=iceberg.metadata,
                df=_fit(rows, schema),
                io=iceberg.io,
                write_uuid=write_id,
                counter=numbers,
            )
        )


def delete_data_files(iceberg: "Table", files: Iterable["DataFile"]) -> None:
    """Delete files that no snapshot has."""
    for file in files:
        iceberg.io.delete(file.file_path)


def _gather(batches: Iterable[pa.Table], file_bytes: int) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    size = 0
    for batch in batches:
        gathered.append(batch)
        size += batch.nbytes
        if size >= file_bytes:
            yield pa.concat_tables(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.concat_tables(gathered)


def _fit(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `rows` with the columns of `schema`, null where PostgreSQL has no such column."""
    columns = [
        rows[each.name].cast(each.type)
        if each.name in rows.column_names
        else pa.nulls(rows.num_rows, each.type)
        for each in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
