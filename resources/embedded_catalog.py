"""PyIceberg's SQL catalog, whose tables share what they were with their copies."""

from typing import TypeVar

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table
from pyiceberg.typedef import Identifier

Value = TypeVar("Value")


class EmbeddedCatalog(SqlCatalog):
    """A SQL catalog in which a commit costs little more where a table has hundreds of snapshots.

    PyIceberg copies a table's metadata deeply for each commit, twice: every snapshot, every entry
    of the logs. Nobody changes those; the copies may have the same ones.
    """

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


class SharedList(list[Value]):
    """A list of values that nobody changes: its deep copy is another list of the same ones."""

    def __deepcopy__(self, _memo: object) -> "SharedList[Value]":
        return SharedList(self)

    def __add__(self, others: list[Value]) -> "SharedList[Value]":  # type: ignore[override]
        return SharedList([*self, *others])
