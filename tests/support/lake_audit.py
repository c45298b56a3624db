"""The auditor of the lake's tests: what is in a table, and whether it is what the database had."""

import pyarrow as pa

from assets.lake.iceberg_tables import load_table, table_exists
from contracts.lake import LAKE_TABLES, LakeTable
from resources.lake import LakeResource
from tests.support.database import rows

TOOL_CALLS = next(table for table in LAKE_TABLES if table.name == "tool_calls")


def read_table(
    lake: LakeResource, table: LakeTable = TOOL_CALLS, *, reference: str = "main"
) -> pa.Table:
    """Return all rows of the lake's table."""
    with lake.open(reference) as catalog:
        return load_table(catalog, table).scan().to_arrow()


def moved_ids(lake: LakeResource) -> list[str]:
    """Return the IDs of the tool calls in the lake, as often as they are there."""
    with lake.open() as catalog:
        if not table_exists(catalog, TOOL_CALLS):
            return []
    return [str(each) for each in read_table(lake)["event_id"].to_pylist()]


def assert_same_events(lake: LakeResource, database_url: str) -> None:
    """Each tool call of the database is in the lake, once."""
    moved = moved_ids(lake)
    assert len(moved) == len(set(moved))
    assert set(moved) == {
        str(row["event_id"]) for row in rows(database_url, "SELECT event_id FROM tool_calls")
    }
