"""All that is known of one request, by its correlation ID."""

from collections.abc import Sequence
from typing import Any

from dashboard_source.panels import DAGSTER, log_lines, rows
from dashboard_source.pipeline import RUN_PAGE

# Grafana's `sqlstring` quotes what a reader typed.
_ID = "${correlation_id:sqlstring}"

_TABLES = (
    "chat_history",
    "flow_lineage",
    "retrieve_events",
    "compose_events",
    "embedding_events",
    "tool_calls",
)
STORED_AT = " UNION ".join(
    f"SELECT extract(epoch FROM ingested_at)::text FROM {table} WHERE correlation_id = {_ID}"
    for table in _TABLES
)
"""When its rows were written: a run that was at work then wrote them."""

_WRONG = f"""
SELECT occurred_at AS "at", 'call' AS what, status, error FROM chat_history
WHERE correlation_id = {_ID} AND status <> 'completed'
UNION ALL
SELECT occurred_at, 'search', status, error FROM retrieve_events
WHERE correlation_id = {_ID} AND status <> 'ok'
UNION ALL
SELECT occurred_at, 'stage ' || (stage ->> 'name'), stage ->> 'status', stage ->> 'details'
FROM flow_lineage, jsonb_array_elements(stages) AS stage
WHERE correlation_id = {_ID} AND coalesce(stage ->> 'status', 'ok') <> 'ok'
UNION ALL
SELECT published_at, 'dead letter of ' || consumer, reason, error FROM dead_letters
WHERE headers ->> 'X-Correlation-ID' = {_ID}
ORDER BY 1
"""
_CALLS = f"""
SELECT occurred_at AS "at", dialect, model, backend, status, is_streaming, duration_seconds,
       first_token_seconds, prompt_tokens, completion_tokens, finish_reason, api_key_name, error
FROM chat_history WHERE correlation_id = {_ID} ORDER BY 1
"""
_STAGES = f"""
SELECT stage ->> 'name' AS stage, (stage ->> 'offset_seconds')::float AS starts_after,
       (stage ->> 'duration_seconds')::float AS seconds,
       coalesce(stage ->> 'status', 'ok') AS status, stage ->> 'details' AS details
FROM flow_lineage, jsonb_array_elements(stages) AS stage
WHERE correlation_id = {_ID} ORDER BY 2
"""
_SEARCHES = f"""
SELECT occurred_at AS "at", method, collection, top_k, hit_count, status, duration_seconds, error
FROM retrieve_events WHERE correlation_id = {_ID} ORDER BY 1
"""
_TOOLS = f"""
SELECT occurred_at AS "at", position, function_name, tool_call_id, model
FROM tool_calls WHERE correlation_id = {_ID} ORDER BY 1, 2
"""
_RUNS = """
SELECT DISTINCT ON (runs.id) run_id, pipeline_name AS job, status,
       to_timestamp(start_time) AS started, to_timestamp(end_time) AS ended
FROM runs, unnest(string_to_array('${stored_at:csv}', ',')::float[]) AS stored_at
WHERE start_time <= stored_at AND coalesce(end_time, stored_at) >= stored_at
ORDER BY runs.id
"""


def panel_rows() -> Sequence[tuple[str, Sequence[Any]]]:
    return (
        (
            "What went wrong",
            (
                rows(
                    "Errors",
                    _WRONG,
                    description="Empty where nothing went wrong, or nothing is stored yet.",
                    height=6,
                ),
            ),
        ),
        (
            "What happened",
            (
                rows("Calls", _CALLS, height=5),
                rows("Stages", _STAGES, span=12, height=8),
                rows("Searches", _SEARCHES, span=12, height=8),
                rows("Tool calls", _TOOLS, height=5),
                log_lines(
                    "Log lines",
                    '{source=~"telemetry|gateway"} | correlation_id=`$correlation_id`',
                ),
            ),
        ),
        (
            "Who stored it",
            (
                rows(
                    "Dagster runs",
                    _RUNS,
                    source=DAGSTER,
                    links=(("run_id", "in the Dagster UI", RUN_PAGE),),
                    description="Runs that were at work when its rows were written.",
                ),
            ),
        ),
    )
