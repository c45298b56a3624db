"""Searches for passages, and the encoder behind them."""

from collections.abc import Sequence
from typing import Any

from dashboard_source.gateway import REQUEST_PAGE
from dashboard_source.panels import curves, figure, rows

_EMPTY = """
SELECT occurred_at AS "at", correlation_id, collection, method, status, hit_count, error
FROM retrieve_events
WHERE $__timeFilter(occurred_at) AND (hit_count = 0 OR status <> 'ok')
ORDER BY occurred_at DESC LIMIT 50
"""


def _quantile(quantile: float, name: str, by: str) -> str:
    return f"histogram_quantile({quantile}, sum by ({by}, le) (rate({name}_bucket[5m])))"


def panel_rows() -> Sequence[tuple[str, Sequence[Any]]]:
    return (
        (
            "At a glance",
            (
                figure("Searches a second", "sum(rate(sluice_retrievals_total[5m]))", unit="reqps"),
                figure(
                    "Passages of a search",
                    "sum(rate(sluice_retrieval_hits_total[5m]))"
                    " / (sum(rate(sluice_retrievals_total[5m])) > 0)",
                ),
                figure(
                    "Searches that found nothing",
                    "sum(rate(sluice_retrieval_empty_total[5m]))"
                    " / (sum(rate(sluice_retrievals_total[5m])) > 0)",
                    unit="percentunit",
                    bad_from=0.5,
                ),
                figure(
                    "Failures of stages",
                    "sum(increase(sluice_gateway_search_failures_total[1h]))",
                    bad_from=1,
                    description="Within the last hour.",
                ),
            ),
        ),
        (
            "Searches",
            (
                curves(
                    "Searches by outcome",
                    (
                        "sum by (method, status) (rate(sluice_retrievals_total[5m]))",
                        "{{method}} {{status}}",
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Duration",
                    (
                        _quantile(0.5, "sluice_retrieval_duration_seconds", "method"),
                        "{{method}} p50",
                    ),
                    (
                        _quantile(0.95, "sluice_retrieval_duration_seconds", "method"),
                        "{{method}} p95",
                    ),
                    unit="s",
                ),
                curves(
                    "Best score",
                    (_quantile(0.5, "sluice_retrieval_best_score", "method"), "{{method}} median"),
                    (
                        _quantile(0.1, "sluice_retrieval_best_score", "method"),
                        "{{method}} lowest tenth",
                    ),
                    description="Of searches that found any; the scale is the method's.",
                ),
            ),
        ),
        (
            "Encoder",
            (
                curves(
                    "Requests",
                    (
                        "sum by (endpoint, status) (rate(sluice_encoder_requests_total[5m]))",
                        "{{endpoint}} {{status}}",
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                curves(
                    "Duration, p95",
                    (
                        _quantile(0.95, "sluice_encoder_request_duration_seconds", "endpoint"),
                        "{{endpoint}}",
                    ),
                    unit="s",
                ),
                curves(
                    "Tokens a second",
                    ("sum by (kind) (rate(sluice_encoder_tokens_total[5m]))", "{{kind}}"),
                    stacked=True,
                ),
                curves("Tokens that wait", ("sluice_encoder_queue_tokens", "{{instance}}")),
                curves(
                    "Refused and failed",
                    ("sum(rate(sluice_encoder_refusals_total[5m]))", "refused"),
                    ("sum(rate(sluice_encoder_inference_failures_total[5m]))", "failed"),
                    unit="reqps",
                ),
                curves(
                    "Texts embedded",
                    ("sum by (model) (rate(sluice_embedding_inputs_total[5m]))", "{{model}}"),
                ),
            ),
        ),
        (
            "Which searches went wrong",
            (
                rows(
                    "Searches without a passage, or without a stage",
                    _EMPTY,
                    links=(("correlation_id", "the whole request", REQUEST_PAGE),),
                ),
            ),
        ),
    )
