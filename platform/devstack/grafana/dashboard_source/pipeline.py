"""Events on their way from the gateway to rows, and telemetry on its way here."""

from collections.abc import Sequence
from typing import Any

from dashboard_source.panels import DAGSTER, HALF, curves, figure, rows

RUN_PAGE = "${dagster}/runs/${__value.raw}"

_DEAD_LETTERS = """
SELECT recorded_at AS "at", dead_letter_id AS id, consumer, reason, error,
       headers ->> 'X-Correlation-ID' AS correlation_id
FROM dead_letters
WHERE replayed_at IS NULL AND dropped_at IS NULL
ORDER BY dead_letter_id DESC LIMIT 50
"""
_FAILED_RUNS = """
SELECT to_timestamp(start_time) AS "at", run_id, pipeline_name AS job, status,
       round((end_time - start_time)::numeric, 1) AS seconds
FROM runs
WHERE status = 'FAILURE' AND create_timestamp BETWEEN $__timeFrom() AND $__timeTo()
ORDER BY id DESC LIMIT 50
"""


def panel_rows() -> Sequence[tuple[str, Sequence[Any]]]:
    return (
        (
            "At a glance",
            (
                figure(
                    "Oldest event that waits",
                    "max(sluice_pipeline_lag_seconds)",
                    unit="s",
                    bad_from=300,
                ),
                figure(
                    "Dead letters", "sum(sluice_pipeline_dead_letters) or vector(0)", bad_from=1
                ),
                figure(
                    "Events lost",
                    'sum(sluice_gateway_events_dropped_total{subject=~"pipeline.+"}) or vector(0)',
                    bad_from=1,
                    description="Of the pipeline, since the gateways' start.",
                ),
                figure(
                    "Servers that tell their figures",
                    "sum(sluice_pipeline_source_up)",
                    bad_below=3,
                    description="Of broker, database and Dagster.",
                ),
            ),
        ),
        (
            "Events",
            (
                curves(
                    "Shipped to the broker",
                    (
                        "sum by (subject) (rate(sluice_gateway_events_shipped_total[5m]))",
                        "{{subject}}",
                    ),
                    unit="eps",
                    stacked=True,
                ),
                curves(
                    "Settled by consumers",
                    (
                        "sum by (consumer) (rate(sluice_pipeline_events_settled_total[5m]))",
                        "{{consumer}}",
                    ),
                    unit="eps",
                    stacked=True,
                ),
                curves(
                    "Waiting in the gateway",
                    ("sum(sluice_gateway_events_waiting)", "events"),
                    description="Not acknowledged by the broker yet: in the spool and in memory.",
                ),
                curves(
                    "Lag of the consumers",
                    ("max by (consumer) (sluice_pipeline_lag_seconds)", "{{consumer}}"),
                    unit="s",
                ),
                curves(
                    "Waiting for a consumer",
                    ("sum by (consumer) (sluice_pipeline_events_waiting)", "{{consumer}}"),
                    ("sum(sluice_pipeline_events_in_flight)", "in flight, all"),
                    stacked=True,
                ),
                curves(
                    "Bytes kept",
                    ("max by (stream) (sluice_pipeline_stream_bytes)", "{{stream}}"),
                    ("sum(sluice_gateway_spool_bytes)", "spool"),
                    unit="bytes",
                ),
            ),
        ),
        (
            "Runs",
            (
                curves(
                    "Runs within an hour",
                    ("max by (status) (sluice_pipeline_runs)", "{{status}}"),
                    span=HALF,
                ),
                rows(
                    "Runs that failed",
                    _FAILED_RUNS,
                    source=DAGSTER,
                    links=(("run_id", "in the Dagster UI", RUN_PAGE),),
                    span=HALF,
                    height=8,
                ),
                rows(
                    "Dead letters",
                    _DEAD_LETTERS,
                    links=(
                        (
                            "correlation_id",
                            "the whole request",
                            "/d/sluice-request?var-correlation_id=${__value.raw}",
                        ),
                    ),
                ),
            ),
        ),
        (
            "Telemetry",
            (
                curves(
                    "Read by Vector",
                    ("sum by (subject) (rate(sluice_telemetry_events_total[5m]))", "{{subject}}"),
                    unit="eps",
                    stacked=True,
                ),
                curves(
                    "Missing in Vector",
                    ("subject:sluice_telemetry_gap:increase15m", "{{subject}}"),
                    description="Within 15 minutes: what the broker took less what Vector read.",
                ),
                curves(
                    "Vector's own errors",
                    (
                        "sum by (component_id) (rate(vector_component_errors_total[5m]))",
                        "{{component_id}}",
                    ),
                    (
                        "sum by (component_id) (rate(vector_component_discarded_events_total[5m]))",
                        "{{component_id}} discarded",
                    ),
                ),
            ),
        ),
    )
