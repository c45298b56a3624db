"""A batch whose process is killed, at each of its steps: no row is lost, none is there twice."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from assets.lake.batch import move_day
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.checkout import PROJECT_ROOT
from tests.support.lake_audit import TOOL_CALLS, assert_same_events, moved_ids
from tests.support.lake_rows import DAY, insert_rows

STEPS = {
    "before _open_table": 0,
    "before _write_audited": 0,
    "after _write_audited": 0,
    "before commit_files": 0,
    "after commit_files": 30,
    "before record_watermark": 30,
    "after record_watermark": 30,
}
"""Where the process is killed → how many rows are in the lake then."""


@pytest.mark.parametrize("step", STEPS)
def test_no_row_is_lost_or_doubled(
    step: str, database_url: str, postgres: PostgresResource, lake: LakeResource
) -> None:
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 30)
    killed = subprocess.run(
        [sys.executable, "-m", "tests.support.killed_batch", step, database_url, lake.location],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(moved_ids(lake)) == STEPS[step]
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 5, first=30)

    outcome = move_day(TOOL_CALLS, DAY, postgres=postgres, lake=lake)

    assert outcome.row_count == 35 - STEPS[step]
    assert_same_events(lake, database_url)
    if step.endswith("_write_audited") and step.startswith("after"):
        assert len(list(Path(lake.location.removeprefix("file://")).rglob("*.parquet"))) == 2
