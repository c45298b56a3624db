"""PyIceberg's SQL catalog, whose tables share what they were with their copies."""

from typing import Any, TypeVar

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.table import Table
from pyiceberg.typedef import Identifier

Value = TypeVar("Value")


class EmbeddedCatalog(SqlCatalog):
    """A SQL catalog in which a commit costs little more where a table has hundreds of snapshots.

    PyIceberg copies a table's metadata deeply for each commit, twice: every snapshot, every entry
    of the logs. Nobody changes those; the copies may have the same ones. And it reads and parses
    the metadata's file each time that it loads the table, though a file once written never changes.
    """

    def __init__(self, name: str, **properties: Any) -> None:
        super().__init__(name, **properties)
        self._read: tuple[tuple[str | None, ...], Table] | None = None
        """Namespace, name and location of the table that was read last, and the table."""

    def load_table(self, identifier: str | Identifier) -> Table:
        """Return the table as it is; see `Catalog.load_table`."""
        table = super().load_table(identifier)
        metadata = table.metadata
        table.metadata = metadata.model_copy(
            update={
                "snapshots": SharedList(metadata.snapshots),
                "snapshot_log": SharedList(metadata.snapshot_log),
                "metadata_log": SharedList(metadata.metadata_log),
            }
        )
        return table

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        wanted = (orm_table.table_namespace, orm_table.table_name, orm_table.metadata_location)
        if self._read is None or self._read[0] != wanted:
            self._read = (wanted, super()._convert_orm_to_iceberg(orm_table))
        read = self._read[1]
        return Table(read.name(), read.metadata, read.metadata_location, read.io, self)


class SharedList(list[Value]):
    """A list of values that nobody changes: its deep copy is another list of the same ones."""

    def __deepcopy__(self, _memo: object) -> "SharedList[Value]":
        return SharedList(self)

    def __add__(self, others: list[Value]) -> "SharedList[Value]":  # type: ignore[override]
        return SharedList([*self, *others])
