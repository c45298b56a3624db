"""The batches that carry rows on to Iceberg."""

from collections.abc import Sequence
from typing import Any

from dashboard_source.panels import DAGSTER, HALF, curves, figure, rows
from dashboard_source.pipeline import RUN_PAGE

_LAKE_RUNS = """
SELECT to_timestamp(start_time) AS "at", run_id, pipeline_name AS job, status,
       round((end_time - start_time)::numeric, 1) AS seconds
FROM runs
WHERE pipeline_name IN ('move_to_lake', 'build_marts', 'maintain_lake')
  AND create_timestamp BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY id DESC LIMIT 50
"""
_BATCHES = """
SELECT table_name, partition_day, row_count, recorded_at, snapshot_id::text
FROM lake_watermarks
ORDER BY recorded_at DESC LIMIT 100
"""


def panel_rows() -> Sequence[tuple[str, Sequence[Any]]]:
    return (
        (
            "At a glance",
            (
                figure(
                    "The lake is behind by",
                    "max(sluice_pipeline_lake_behind_seconds)",
                    unit="s",
                    bad_from=10800,
                ),
                figure(
                    "Since the last batch",
                    "time() - max(sluice_pipeline_lake_batch_timestamp_seconds)",
                    unit="s",
                ),
                figure("Rows of the last batches", "sum(sluice_pipeline_lake_batch_rows)"),
                figure(
                    "Tables in the lake",
                    "count(max by (table) (sluice_pipeline_lake_batch_timestamp_seconds))",
                ),
            ),
        ),
        (
            "Batches",
            (
                curves(
                    "Behind by",
                    ("max(sluice_pipeline_lake_behind_seconds)", "all tables"),
                    unit="s",
                    span=HALF,
                ),
                curves(
                    "Rows of a batch",
                    ("max by (table) (sluice_pipeline_lake_batch_rows)", "{{table}}"),
                    span=HALF,
                ),
                rows("Newest batches", _BATCHES, span=HALF, height=10),
                rows(
                    "Runs",
                    _LAKE_RUNS,
                    source=DAGSTER,
                    links=(("run_id", "in the Dagster UI", RUN_PAGE),),
                    span=HALF,
                    height=10,
                ),
            ),
        ),
    )
