"""Creates the lake's Iceberg tables, and follows PostgreSQL's when they gain columns."""

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import ManifestContent
from pyiceberg.table import Table

from assets.lake.schemas import iceberg_schema, partition_spec, sort_order
from contracts.lake import NAMESPACE, LakeTable

TABLE_PROPERTIES = {
    "format-version": "2",
    # A batch is told by the snapshot it began from whether another came before it, so a commit
    # that finds the table changed must fail and not be tried again on top of the change.
    "commit.retry.num-retries": "0",
    "write.parquet.compression-codec": "zstd",
    # The writer is given tables of a file's size; it is not to cut them again.
    "write.target-file-size-bytes": str(1 << 40),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    # Each commit reads and writes the list of all manifests. Without this it has one for each
    # batch there ever was, whether its snapshot is kept or not.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "32",
}


def table_exists(catalog: Catalog, table: LakeTable) -> bool:
    return catalog.table_exists((NAMESPACE, table.name))


def load_table(catalog: Catalog, table: LakeTable) -> Table:
    """Return the Iceberg table of `table` as it is.

    Raises:
        pyiceberg.exceptions.NoSuchTableError: no batch has made it yet.
    """
    return catalog.load_table((NAMESPACE, table.name))


def ensure_table(catalog: Catalog, table: LakeTable) -> Table:
    """Return the Iceberg table with a column for each of the source's; make what is missing."""
    schema = iceberg_schema(table)
    try:
        existing = load_table(catalog, table)
    except NoSuchTableError:
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog.create_table(
            (NAMESPACE, table.name),
            schema=schema,
            partition_spec=partition_spec(table, schema),
            sort_order=sort_order(table, schema),
            properties={**TABLE_PROPERTIES, "comment": table.description},
        )
    _follow_columns(existing, table)
    _follow_properties(existing)
    return existing


def count_rows(iceberg: Table) -> int:
    """Return how many rows the table has, as the current snapshot's list of manifests says."""
    snapshot = iceberg.current_snapshot()
    manifests = [] if snapshot is None else snapshot.manifests(iceberg.io)
    return sum(
        (each.added_rows_count or 0) + (each.existing_rows_count or 0)
        for each in manifests
        if each.content == ManifestContent.DATA
    )


def _follow_columns(existing: Table, table: LakeTable) -> None:
    """Add columns that are new, and let those that are gone be null. Nothing is removed.

    An added column is optional, whatever it is in PostgreSQL: the rows before have none.
    """
    wanted = iceberg_schema(table)
    present = {field.name: field for field in existing.schema().fields}
    names = {field.name for field in wanted.fields}
    added = [field for field in wanted.fields if field.name not in present]
    loosened = [name for name, field in present.items() if field.required and name not in names] + [
        field.name
        for field in wanted.fields
        if not field.required and field.name in present and present[field.name].required
    ]
    if not added and not loosened:
        return
    with existing.update_schema() as update:
        for field in added:
            update.add_column(field.name, field.field_type, required=False)
        for name in loosened:
            update.make_column_optional(name)


def _follow_properties(existing: Table) -> None:
    """Set the properties that a table made earlier has not; what somebody set stays."""
    missing = {
        name: value for name, value in TABLE_PROPERTIES.items() if name not in existing.properties
    }
    if missing:
        with existing.transaction() as transaction:
            transaction.set_properties(missing)
