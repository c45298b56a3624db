"""Writes Arrow tables as data files of an Iceberg table, which a commit then makes part of it.

`Table.append` will not do: of a stream it takes no partitioned table, and of a table it must have
all rows in memory (https://github.com/apache/iceberg-python/issues/2152). So files are written by
what it calls itself, `pyiceberg.io.pyarrow.write_file`, one at a time, each of one day.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator
from datetime import date
from itertools import count
from typing import TYPE_CHECKING

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow, write_file
from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.table import WriteTask

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

_log = logging.getLogger(__name__)
_EPOCH = date(1970, 1, 1)


def write_data_files(
    iceberg: "Table", batches: Iterable[pa.Table], *, day: date, file_bytes: int
) -> Iterator["DataFile"]:
    """Write `batches`, all rows of which are of `day`, in files of about `file_bytes` of Arrow."""
    schema = schema_to_pyarrow(iceberg.schema(), include_field_ids=False)
    partition, write_id, numbers = _partition_key(iceberg, day), uuid.uuid4(), count()
    for rows in _gather(batches, file_bytes):
        task = WriteTask(
            write_uuid=write_id,
            task_id=next(numbers),
            schema=iceberg.schema(),
            record_batches=_fit(rows, schema).to_batches(),
            partition_key=partition,
        )
        yield from write_file(iceberg.io, iceberg.metadata, iter([task]))


def delete_data_files(iceberg: "Table", files: Iterable["DataFile"]) -> None:
    """Delete files that no snapshot has, or leave them to the maintenance where that fails."""
    for file in files:
        try:
            iceberg.io.delete(file.file_path)
        except OSError as error:
            _log.warning("%s is left for the maintenance to delete: %s", file.file_path, error)


def _partition_key(iceberg: "Table", day: date) -> PartitionKey:
    (field,) = iceberg.spec().fields
    value = PartitionFieldValue(field=field, value=(day - _EPOCH).days)
    return PartitionKey([value], partition_spec=iceberg.spec(), schema=iceberg.schema())


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
