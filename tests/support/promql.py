"""Which metrics and labels a PromQL expression asks for, held against the list of metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser

from contracts.metrics.listing import METRICS

_GIVEN_LABELS = {"job", "instance", "le"}
"""By Prometheus, or of a histogram's buckets."""

OTHERS: dict[str, set[str]] = {
    "up": set(),
    "vector_component_errors_total": {"component_id", "error_type"},
    "vector_component_received_events_total": {"component_id"},
    "vector_component_discarded_events_total": {"component_id"},
    "vector_buffer_events": {"component_id"},
    "ALERTS": {"alertname", "alertstate", "severity"},
}
"""Metrics that others define: name → labels that we ask for.

https://prometheus.io/docs/concepts/jobs_instances/
https://vector.dev/docs/reference/configuration/sources/internal_metrics/
"""


@dataclass(frozen=True)
class Selector:
    """One selector of an expression."""

    name: str
    labels: frozenset[str]


def labels_of(name: str, recorded: dict[str, set[str]]) -> set[str] | None:
    """Return the labels of a metric, of ours, another's or a recording rule; None if unknown."""
    if name in OTHERS:
        return OTHERS[name] | _GIVEN_LABELS
    if name in recorded:
        return recorded[name]
    for metric in METRICS:
        if name in metric.sample_names:
            return {*metric.label_names, *_GIVEN_LABELS}
    return None


def check_expression(expression: str, recorded: dict[str, set[str]]) -> set[str]:
    """Assert that every name and label in `expression` is known; return the metrics' names."""
    names = set()
    known: set[str] = set()
    for selector in selectors(expression):
        labels = labels_of(selector.name, recorded)
        assert labels is not None, f"no metric {selector.name!r}: {expression}"
        assert selector.labels <= labels, f"{selector.labels - labels} in {expression}"
        names.add(selector.name)
        known |= labels
    assert grouping(expression) <= known, f"{grouping(expression) - known} in {expression}"
    return names


def selectors(expression: str) -> Iterator[Selector]:
    for node in _nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            matchers = frozenset(each.name for each in node.matchers.matchers)
            assert node.name is not None, expression
            yield Selector(node.name, matchers)


def grouping(expression: str) -> set[str]:
    """Return the labels that `by`, `without`, `on`, `ignoring` and `group_left` name."""
    found: set[str] = set()
    for node in _nodes(expression):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
            found |= set(modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and modifier is not None:
            matching = getattr(modifier, "matching", None)
            if matching is not None:
                found |= set(matching.labels)
    return found


def _nodes(expression: str) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(expression), pre_visit=lambda node: found.append(node))
    return found
