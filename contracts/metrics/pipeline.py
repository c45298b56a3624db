"""What `sluice metrics` reports of the pipeline, asked of the servers at each scrape."""

from contracts.lake import LAKE_TABLES
from contracts.metrics.definition import Exposer, Label, Metric
from contracts.streams import (
    ADVISORIES,
    PIPELINE,
    PIPELINE_CONSUMERS,
    TELEMETRY,
    TELEMETRY_CONSUMER,
)

_BY = (Exposer.PIPELINE,)

BROKER, DATABASE, DAGSTER = "broker", "database", "dagster"

SOURCE = Label.of("source", "who was asked", (BROKER, DATABASE, DAGSTER))
STREAM = Label.of("stream", "its name on the broker", (PIPELINE, TELEMETRY, ADVISORIES))
CONSUMER = Label.of(
    "consumer",
    "its durable name: that of the Dagster job, or Vector's",
    (*(each.durable_name for each in PIPELINE_CONSUMERS), TELEMETRY_CONSUMER),
)
REASON = Label("reason", "why they are dead letters", 10)
TABLE = Label.of("table", "of the lake", [each.name for each in LAKE_TABLES])
JOB = Label("dagster_job", "its name in Dagster", 40)
RUN_STATUS = Label.of(
    "status", "of the runs", ("waiting", "running", "succeeded", "failed", "canceled")
)

SOURCE_UP = Metric(
    "sluice_pipeline_source_up",
    "gauge",
    "1 if the server answered; what it would have told is missing otherwise",
    _BY,
    (SOURCE,),
)
WAITING = Metric(
    "sluice_pipeline_events_waiting",
    "gauge",
    "Events that the consumer has not been given yet",
    _BY,
    (CONSUMER,),
    "events",
)
IN_FLIGHT = Metric(
    "sluice_pipeline_events_in_flight",
    "gauge",
    "Events that were given to the consumer and not acknowledged yet",
    _BY,
    (CONSUMER,),
    "events",
)
LAG = Metric(
    "sluice_pipeline_lag_seconds",
    "gauge",
    "Age of the oldest event that the consumer has not acknowledged; 0 where there is none",
    _BY,
    (CONSUMER,),
    "seconds",
)
SETTLED = Metric(
    "sluice_pipeline_events_settled_total",
    "counter",
    "Events that the consumer acknowledged, redeliveries counted again",
    _BY,
    (CONSUMER,),
    "events",
)
STREAM_BYTES = Metric(
    "sluice_pipeline_stream_bytes", "gauge", "Bytes of the stream", _BY, (STREAM,), "bytes"
)
STREAM_EVENTS = Metric(
    "sluice_pipeline_stream_events_total",
    "counter",
    "Messages that the stream ever took, by its last sequence number",
    _BY,
    (STREAM,),
    "messages",
)
DEAD_LETTERS = Metric(
    "sluice_pipeline_dead_letters",
    "gauge",
    "Dead letters that were neither replayed nor dropped",
    _BY,
    (REASON,),
    "messages",
)
LAKE_BEHIND = Metric(
    "sluice_pipeline_lake_behind_seconds",
    "gauge",
    "How much later the newest stored chat call came than the last batch that went to the lake; 0"
    " where none came since",
    _BY,
    unit="seconds",
)
LAKE_BATCH_AT = Metric(
    "sluice_pipeline_lake_batch_timestamp_seconds",
    "gauge",
    "When the table's last batch went to the lake",
    _BY,
    (TABLE,),
    "seconds",
)
LAKE_BATCH_ROWS = Metric(
    "sluice_pipeline_lake_batch_rows",
    "gauge",
    "Rows of the table's last batch",
    _BY,
    (TABLE,),
    "rows",
)
RUNS = Metric(
    "sluice_pipeline_runs",
    "gauge",
    "Dagster runs that were created within the last hour",
    _BY,
    (RUN_STATUS,),
    "runs",
)
FAILED_RUNS = Metric(
    "sluice_pipeline_failed_runs",
    "gauge",
    "Those of them that failed, of each job that had any",
    _BY,
    (JOB,),
    "runs",
)
