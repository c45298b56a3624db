"""Commits whose cost does not follow the number of batches that came before."""

from datetime import date, timedelta

import psycopg

from assets.lake.batch import move_day
from assets.lake.iceberg_tables import TABLE_PROPERTIES, count_rows, load_table
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.lake_audit import TOOL_CALLS, read_table
from tests.support.lake_rows import DAY, insert_rows

_MOST_MANIFESTS = int(TABLE_PROPERTIES["commit.manifest.min-count-to-merge"])


def _move_a_row(
    database_url: str, postgres: PostgresResource, lake: LakeResource, day: date
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 1, day=day)
    move_day(TOOL_CALLS, day, postgres=postgres, lake=lake)


def test_manifests_are_merged_and_every_snapshot_stays_readable(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    days = [DAY + timedelta(days=number) for number in range(_MOST_MANIFESTS + 8)]

    for day in days:
        _move_a_row(database_url, postgres, lake, day)

    with lake.open() as catalog:
        iceberg = load_table(catalog, TOOL_CALLS)
    snapshots = iceberg.metadata.snapshots
    counts = [len(each.manifests(iceberg.io)) for each in snapshots]
    assert counts[: _MOST_MANIFESTS - 1] == list(range(1, _MOST_MANIFESTS))
    assert counts[_MOST_MANIFESTS - 1 :] == list(range(1, 10))
    assert count_rows(iceberg) == read_table(lake).num_rows == len(days)
    for number in (0, _MOST_MANIFESTS - 2, _MOST_MANIFESTS - 1):
        scan = iceberg.scan(snapshot_id=snapshots[number].snapshot_id)
        assert scan.to_arrow().num_rows == number + 1
    first_day = iceberg.scan(row_filter=f"occurred_at < '{days[1]}T00:00:00+00:00'")
    assert len(list(first_day.plan_files())) == 1


def test_a_table_that_was_made_earlier_gets_new_properties_and_keeps_its_own(
    database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    _move_a_row(database_url, postgres, lake, DAY)
    with lake.open() as catalog, load_table(catalog, TOOL_CALLS).transaction() as transaction:
        transaction.remove_properties("commit.manifest-merge.enabled")
        transaction.set_properties({"write.parquet.compression-codec": "snappy"})

    _move_a_row(database_url, postgres, lake, DAY + timedelta(days=1))

    with lake.open() as catalog:
        properties = load_table(catalog, TOOL_CALLS).properties
    assert properties["commit.manifest-merge.enabled"] == "true"
    assert properties["write.parquet.compression-codec"] == "snappy"
    assert read_table(lake).num_rows == 2
