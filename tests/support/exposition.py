"""Compares what a server answers to `GET /metrics` with the list of metrics."""

from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from contracts.metrics.definition import Exposer, Metric
from contracts.metrics.listing import metrics_of

_OWN_LABELS = {"le"}
"""Of a histogram's buckets."""


def check_exposition(text: str, exposer: Exposer) -> set[str]:
    """Assert that each metric in `text` is listed for `exposer`, as it is; return their names."""
    listed = {each.family_name: each for each in metrics_of(exposer)}
    shown = set()
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            # The client's own, beside each counter and histogram; Prometheus drops them.
            continue
        metric = listed[family.name]
        assert family.type == metric.kind, family.name
        assert family.documentation == metric.help
        seen: dict[str, set[str]] = defaultdict(set)
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            assert sample.name in metric.sample_names
            assert set(sample.labels) - _OWN_LABELS == set(metric.label_names), sample
            for name, value in sample.labels.items():
                seen[name].add(value)
        _check_values(metric, seen)
        shown.add(metric.name)
    return shown


def _check_values(metric: Metric, seen: dict[str, set[str]]) -> None:
    for label in metric.labels:
        assert len(seen[label.name]) <= label.at_most, (metric.name, label.name)
        if label.values is not None:
            assert seen[label.name] <= label.values, (metric.name, label.name)
