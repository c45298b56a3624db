"""Deletes the files in a table's folder that no snapshot has, in either catalog."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pyarrow import fs
from pyiceberg.expressions import EqualTo
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import StaticTable

from contracts.lake import NAMESPACE, LakeTable
from resources.lake import LakeResource
from resources.nessie import MAIN

if TYPE_CHECKING:
    from pyiceberg.table import Table

Versions = dict[str, list["Table"]]
"""Reference → the table as it was there at any moment that is kept, newest first."""


def load_versions(
    iceberg: "Table", table: LakeTable, lake: LakeResource, since: datetime
) -> Versions:
    """Return every version of the table that a reference of the catalog leads to.

    The embedded catalog has one reference, whose one version has all snapshots. In Nessie each
    commit is a version of its own, on any branch and tag: this is the marking of a collector of
    garbage (https://projectnessie.org/guides/management/#garbage-collection).
    """
    if lake.is_embedded:
        return {MAIN: [iceberg]}
    locations = lake.branches.find_table_versions((NAMESPACE, table.name), since)
    return {
        reference: [
            version
            for location in found
            if (version := _load_version(iceberg, location)) is not None
        ]
        for reference, found in locations.items()
    }


def find_references_with(versions: Versions, subjects: Sequence[tuple[str, str]]) -> list[str]:
    """Return the references besides `main` that have rows of a subject, a column and its value."""
    return sorted(
        reference
        for reference, found in versions.items()
        if reference != MAIN
        and any(_has_rows(newest, *subject) for newest in found[:1] for subject in subjects)
    )


def delete_leftovers(iceberg: "Table", versions: Versions, older_than: datetime) -> tuple[int, int]:
    """Delete files in the table's folder that no version has; return their number and bytes."""
    known: set[str] = set()
    for version in (version for found in versions.values() for version in found):
        known.update(_files_of_snapshots(version, known))
    deleted = size = 0
    for file, location in _list_files(iceberg):
        if location not in known and file.mtime is not None and file.mtime < older_than:
            iceberg.io.delete(location)
            deleted += 1
            size += file.size or 0
    return deleted, size


def _load_version(iceberg: "Table", location: str) -> "Table | None":
    """Return the table by its metadata; None where an erasure has deleted that."""
    try:
        return StaticTable.from_metadata(location, iceberg.io.properties)
    except FileNotFoundError:
        return None


def _has_rows(iceberg: "Table", column: str, value: str) -> bool:
    if column not in iceberg.schema().column_names:
        return False
    condition = EqualTo(column, value)  # type: ignore[arg-type, call-arg]  # as documented
    scan = iceberg.scan(row_filter=condition, selected_fields=(column,))
    return any(batch.num_rows for batch in scan.to_arrow_batch_reader())


def _files_of_snapshots(iceberg: "Table", known: set[str]) -> Iterator[str]:
    """Yield the files that the version needs; manifests that are known are not read again."""
    yield iceberg.metadata_location
    yield from (entry.metadata_file for entry in iceberg.metadata.metadata_log)
    yield from (each.statistics_path for each in iceberg.metadata.statistics)
    seen: set[str] = set()
    for snapshot in iceberg.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(iceberg.io):
            if manifest.manifest_path in seen or manifest.manifest_path in known:
                continue
            seen.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(iceberg.io, discard_deleted=True):
                yield entry.data_file.file_path


def _list_files(iceberg: "Table") -> Iterable[tuple[fs.FileInfo, str]]:
    """Yield what lies in the table's folder, with its location as Iceberg writes it."""
    if not isinstance(iceberg.io, PyArrowFileIO):
        raise TypeError(f"cannot list files by {type(iceberg.io).__name__}")
    location = iceberg.location()
    scheme, netloc, path = PyArrowFileIO.parse_location(location)
    file_system: fs.FileSystem = iceberg.io.fs_by_scheme(scheme, netloc)
    for file in file_system.get_file_info(fs.FileSelector(path, recursive=True)):
        if file.type == fs.FileType.File:
            yield file, location + file.path.removeprefix(path)
