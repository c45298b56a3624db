"""The Iceberg schema of a lake table, from its PostgreSQL columns."""

from itertools import count
from typing import Any

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
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
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from contracts.lake import JsonShape, LakeTable

_SCALARS: tuple[tuple[type[Any], IcebergType], ...] = (
    # A subclass stands before its base.
    (BigInteger, LongType()),
    (Integer, IntegerType()),
    (Double, DoubleType()),
    (Boolean, BooleanType()),
    (DateTime, TimestamptzType()),
    (Uuid, StringType()),
    (LargeBinary, StringType()),
    (JSONB, StringType()),
    (Text, StringType()),
)
_SHAPED: dict[str, IcebergType] = {
    "VARCHAR": StringType(),
    "BIGINT": LongType(),
    "DOUBLE": DoubleType(),
}


class UnsupportedColumn(TypeError):
    """A column has a type for which the lake has none."""


def iceberg_schema(table: LakeTable) -> Schema:
    """Return the schema that a new Iceberg table of `table` gets.

    Raises:
        UnsupportedColumn: a column has a type for which the lake has none.
    """
    ids = iter(count(1))
    fields = []
    for column in table.columns:
        field_id = next(ids)
        shape = table.shapes.get(column.name)
        fields.append(
            NestedField(
                field_id,
                column.name,
                _column_type(column, ids) if shape is None else _shaped_type(shape, ids),
                required=not column.nullable,
            )
        )
    return Schema(*fields)


def partition_spec(table: LakeTable, schema: Schema) -> PartitionSpec:
    """Return the partitioning by the UTC day of the row's moment."""
    moment = schema.find_field(table.moment)
    return PartitionSpec(
        PartitionField(
            source_id=moment.field_id,
            field_id=1000,
            transform=DayTransform(),
            name=f"{table.moment}_day",
        )
    )


def sort_order(table: LakeTable, schema: Schema) -> SortOrder:
    """Return the order of rows within a file."""
    return SortOrder(
        *(
            SortField(source_id=schema.find_field(name).field_id, transform=IdentityTransform())
            for name in (table.moment, *table.key)
        )
    )


def _column_type(column: Column[Any], ids: Any) -> IcebergType:
    if isinstance(column.type, ARRAY) and isinstance(column.type.item_type, Text):
        return ListType(element_id=next(ids), element_type=StringType(), element_required=False)
    for sql_type, iceberg_type in _SCALARS:
        if isinstance(column.type, sql_type):
            return iceberg_type
    raise UnsupportedColumn(f"{column.table.name}.{column.name} is of type {column.type}")


def _shaped_type(shape: JsonShape, ids: Any) -> IcebergType:
    if isinstance(shape, str):
        return _SHAPED[shape]
    if isinstance(shape, list):
        element_id = next(ids)
        return ListType(
            element_id=element_id,
            element_type=_shaped_type(shape[0], ids),
            element_required=False,
        )
    fields = []
    for name, inner in shape.items():
        field_id = next(ids)
        fields.append(NestedField(field_id, name, _shaped_type(inner, ids), required=False))
    return StructType(*fields)
