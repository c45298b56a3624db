"""What clients get, and how the backends do."""

from collections.abc import Sequence
from typing import Any

from dashboard_source.panels import HALF, WHOLE, curves, figure, rows

REQUEST_PAGE = "/d/sluice-request?var-correlation_id=${__value.raw}"

_FAILED_CALLS = """
SELECT occurred_at AS "at", correlation_id, model, backend, dialect, status,
       round(duration_seconds::numeric, 2) AS seconds, error
FROM chat_history
WHERE $__timeFilter(occurred_at) AND status <> 'completed'
ORDER BY occurred_at DESC LIMIT 50
"""
_CLIENTS = 'path=~"/v1/.+"'


def panel_rows() -> Sequence[tuple[str, Sequence[Any]]]:
    return (
        (
            "At a glance",
            (
                figure(
                    "Requests a second",
                    f"sum(rate(sluice_gateway_requests_total{{{_CLIENTS}}}[5m]))",
                    unit="reqps",
                ),
                figure(
                    "Errors",
                    "sluice_gateway:error_ratio:rate5m",
                    unit="percentunit",
                    bad_from=0.05,
                    description="Of the requests that ask a model: answers of status 5xx.",
                ),
                figure(
                    "p99 of chat completions",
                    "max(path:sluice_gateway_request_duration_seconds:p99_5m"
                    '{path="/v1/chat/completions"})',
                    unit="s",
                ),
                figure(
                    "Alerts that fire",
                    'count(ALERTS{alertstate="firing"}) or vector(0)',
                    bad_from=1,
                ),
            ),
        ),
        (
            "Requests",
            (
                curves(
                    "Requests by path",
                    (
                        "sum by (path) (path_status:sluice_gateway_requests:rate5m)",
                        "{{path}}",
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Requests by status",
                    (
                        "sum by (status)"
                        f" (path_status:sluice_gateway_requests:rate5m{{{_CLIENTS}}})",
                        "{{status}}",
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Duration, p99",
                    ("path:sluice_gateway_request_duration_seconds:p99_5m", "{{path}}"),
                    unit="s",
                ),
            ),
        ),
        (
            "Models",
            (
                curves(
                    "Calls by model",
                    ("sum by (model) (rate(sluice_chat_calls_total[5m]))", "{{model}}"),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Time to first token, p95",
                    ("model:sluice_chat_first_token_seconds:p95_5m", "{{model}}"),
                    unit="s",
                    description="Of streams, from the request's arrival.",
                ),
                curves(
                    "Tokens a second",
                    (
                        "sum by (model, kind) (rate(sluice_chat_tokens_total[5m]))",
                        "{{model}} {{kind}}",
                    ),
                    stacked=True,
                ),
                curves(
                    "Calls by dialect",
                    ("sum by (dialect) (rate(sluice_chat_calls_total[5m]))", "{{dialect}}"),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Calls by outcome",
                    ("sum by (status) (rate(sluice_chat_calls_total[5m]))", "{{status}}"),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Tool calls",
                    (
                        "topk(10, sum by (function_name) (rate(sluice_tool_calls_total[5m])))",
                        "{{function_name}}",
                    ),
                    unit="reqps",
                ),
            ),
        ),
        (
            "Backends",
            (
                curves(
                    "In flight and queued",
                    ("sum by (backend) (sluice_gateway_backend_in_flight)", "{{backend}}"),
                    ("sum by (backend) (sluice_gateway_backend_queued)", "{{backend}} queued"),
                ),
                curves(
                    "Errors of backends",
                    (
                        "sum by (backend, reason) (rate(sluice_gateway_backend_errors_total[5m]))",
                        "{{backend}} {{reason}}",
                    ),
                    unit="reqps",
                ),
                curves(
                    "Out of use",
                    (
                        "max by (backend) (sluice_gateway_backend_breaker_state)",
                        "{{backend}} breaker",
                    ),
                    ("1 - min by (backend) (sluice_gateway_backend_up)", "{{backend}} down"),
                    description="Breaker: 0 closed, 1 on trial, 2 open.",
                ),
                curves(
                    "Tried again",
                    (
                        "sum by (backend) (rate(sluice_gateway_backend_retries_total[5m]))",
                        "{{backend}} retries",
                    ),
                    (
                        "sum by (backend) (rate(sluice_gateway_backend_failovers_total[5m]))",
                        "{{backend}} failovers",
                    ),
                    unit="reqps",
                    span=HALF,
                ),
                curves(
                    "Memory",
                    ('process_resident_memory_bytes{job="gateway"}', "{{instance}} bytes"),
                    unit="bytes",
                    span=HALF,
                ),
            ),
        ),
        (
            "Which calls failed",
            (
                rows(
                    "Failed calls",
                    _FAILED_CALLS,
                    links=(("correlation_id", "the whole request", REQUEST_PAGE),),
                    span=WHOLE,
                    description="An ID leads to all that is known of its request.",
                ),
            ),
        ),
    )
