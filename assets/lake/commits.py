"""Commits files to an Iceberg table, in a time that hardly grows with the table's snapshots."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from assets.lake.data_files import delete_data_files
from assets.lake.intervals import Interval

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile


class CommitLost(Exception):
    """Another commit came first, and this one changed nothing."""


class QuickTransaction(Transaction):
    """A transaction that works out its metadata once for each of its changes.

    PyIceberg's own copies all of it, each snapshot of the table, whenever it looks at it: some 15
    times for an append. Nobody changes the metadata in place.
    """

    _worked_out: tuple[object, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with this transaction's changes."""
        if not self._updates:
            return self._table.metadata
        if self._worked_out is None or self._worked_out[0] is not self._updates:
            self._worked_out = (self._updates, super().table_metadata)
        return self._worked_out[1]


def commit_files(iceberg: Table, files: Iterable["DataFile"], interval: Interval) -> int:
    """Append `files` in one snapshot that names the interval; return its ID.

    Manifests of earlier commits are merged as the table's properties say.

    Raises:
        CommitLost: the table has changed since it was loaded.
    """
    try:
        with (
            QuickTransaction(iceberg) as transaction,
            transaction.update_snapshot(
                snapshot_properties=interval.summary
            ).merge_append() as append,
        ):
            for file in files:
                append.append_data_file(file)
    except CommitFailedException as error:
        delete_data_files(iceberg, files)
        raise CommitLost(f"another commit to {iceberg.name()[-1]} came first: {error}") from error
    snapshot = iceberg.current_snapshot()
    if snapshot is None:
        raise CommitLost(f"{iceberg.name()[-1]} has no snapshot after the commit")
    return snapshot.snapshot_id


def take_back(iceberg: Table, earlier: Snapshot | None) -> None:
    """Have the table be as it was at its snapshot `earlier` again.

    What was committed since stays readable by its snapshot's ID until the maintenance expires it.
    """
    if earlier is None:
        # Iceberg has no way back to no snapshot at all, and a table that is new has nobody's rows.
        iceberg.catalog.drop_table(iceberg.name())
    else:
        iceberg.manage_snapshots().rollback_to_snapshot(earlier.snapshot_id).commit()
