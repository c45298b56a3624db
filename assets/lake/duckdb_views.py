"""The lake's tables as views in DuckDB: PyIceberg plans the files, DuckDB reads them.

Parquet columns are found by their Iceberg field IDs, so files from before a column was added read
as the table is now. No file has deletes: the tables are only appended to and compacted.
"""

from typing import TYPE_CHECKING

import duckdb
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestamptzType,
)

from assets.lake.iceberg_tables import load_table, table_exists
from assets.lake.schemas import iceberg_schema
from contracts.lake import LAKE_TABLES, NAMESPACE, LakeTable

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema

_TYPES: dict[type[IcebergType], str] = {
    BooleanType: "BOOLEAN",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    DoubleType: "DOUBLE",
    StringType: "VARCHAR",
    TimestamptzType: "TIMESTAMPTZ",
}


def create_lake_views(connection: duckdb.DuckDBPyConnection, catalog: "Catalog") -> None:
    """Make a view of each lake table as it is now; an empty one where no batch made it yet."""
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
    for table in LAKE_TABLES:
        statement = _select(catalog, table)
        connection.execute(f"CREATE OR REPLACE VIEW {NAMESPACE}.{table.name} AS {statement}")


def _select(catalog: "Catalog", table: LakeTable) -> str:
    if not table_exists(catalog, table):
        return _select_nothing(iceberg_schema(table))
    iceberg = load_table(catalog, table)
    files = [task.file.file_path for task in iceberg.scan().plan_files()]
    if not files:
        return _select_nothing(iceberg.schema())
    paths = ", ".join(_quote(path.removeprefix("file://")) for path in files)
    fields = ", ".join(map(_field_mapping, iceberg.schema().fields))
    return f"SELECT * FROM read_parquet([{paths}], schema = MAP {{{fields}}})"  # noqa: S608


def _field_mapping(field: NestedField) -> str:
    name, duckdb_type = _quote(field.name), _quote(_duckdb_type(field.field_type))
    return f"{field.field_id}: {{name: {name}, type: {duckdb_type}, default_value: NULL}}"


def _select_nothing(schema: "Schema") -> str:
    columns = ", ".join(
        f"CAST(NULL AS {_duckdb_type(field.field_type)}) AS {field.name}" for field in schema.fields
    )
    return f"SELECT {columns} WHERE false"


def _duckdb_type(iceberg_type: IcebergType) -> str:
    if isinstance(iceberg_type, ListType):
        return f"{_duckdb_type(iceberg_type.element_type)}[]"
    if isinstance(iceberg_type, StructType):
        fields = ", ".join(
            f"{field.name} {_duckdb_type(field.field_type)}" for field in iceberg_type.fields
        )
        return f"STRUCT({fields})"
    return _TYPES[type(iceberg_type)]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
