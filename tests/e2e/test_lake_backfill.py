"""A range of days moved to the lake as the Dagster UI has it done: a backfill, by the daemon."""

import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from assets.lake.iceberg_tables import load_table
from contracts.lake import LAKE_TABLES
from resources.lake import LakeResource
from tests.support.graphql import ask_dagster
from tests.support.lake_rows import DAY, insert_rows
from tests.support.stack import PlatformStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

SCORES = next(table for table in LAKE_TABLES if table.name == "rerank_scores")
DAYS = [DAY + timedelta(days=number) for number in range(3)]
_SECONDS = 300.0

_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_STATUS = """
query Status($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status numPartitions }
  }
}
"""
_MATERIALIZED = """
query Materialized($key: AssetKeyInput!, $days: [String!]) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { assetMaterializations(partitions: $days) { partition } }
  }
}
"""


@pytest.fixture
def days_of_scores(shared_platform: PlatformStack) -> Iterator[PlatformStack]:
    """A platform with four scores on each of the days and none on others."""
    url = shared_platform.endpoints["postgres"]
    with psycopg.connect(url) as connection:
        for number, day in enumerate(DAYS):
            insert_rows(connection, "rerank_scores", 4, day=day, first=10 * number)
    yield shared_platform
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM rerank_scores WHERE model = 'colbert'")


def test_a_range_of_days_is_moved_by_one_request(days_of_scores: PlatformStack) -> None:
    platform = days_of_scores
    dagster = platform.endpoints["dagster"]
    key = {"path": ["lake", SCORES.name]}
    days = [day.isoformat() for day in DAYS]
    params = {"assetSelection": [key], "partitionNames": days}

    launched = ask_dagster(dagster, _LAUNCH, params=params)["launchPartitionBackfill"]

    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    deadline = time.monotonic() + _SECONDS
    while True:
        backfill = ask_dagster(dagster, _STATUS, id=launched["backfillId"])[
            "partitionBackfillOrError"
        ]
        if backfill["status"].startswith(("COMPLETED", "FAILED", "CANCELED")):
            break
        assert time.monotonic() < deadline, backfill
        time.sleep(1)
    assert (backfill["status"], backfill["numPartitions"]) == ("COMPLETED_SUCCESS", 3)
    node = ask_dagster(dagster, _MATERIALIZED, key=key, days=days)["assetNodeOrError"]
    # The hourly schedule may have found them too, and then moved nothing more.
    assert sorted({each["partition"] for each in node["assetMaterializations"]}) == days
    lake = LakeResource(
        database_url=platform.endpoints["postgres"],
        warehouse=(platform.data_dir / "lake").resolve().as_uri(),
    )
    with lake.open() as catalog:
        moved = load_table(catalog, SCORES).scan(row_filter="model = 'colbert'").to_arrow()
    by_day = [moment.date() for moment in moved["scored_at"].to_pylist()]
    assert sorted(by_day) == sorted(4 * DAYS)
