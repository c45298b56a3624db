"""The list of metrics: what Prometheus' conventions ask, and that no name stands anywhere else."""

import re
from pathlib import Path

import pytest

from contracts.metrics.definition import Metric
from contracts.metrics.listing import METRICS
from sluice.metrics_reference import reference_page

ROOT = Path(__file__).parents[2]
SENDERS = ("gateway", "encoder", "resources", "sensors", "assets", "sluice")
MOST_SERIES = 4_000_000
"""What the widest one may come to where every label takes every value; most come nowhere near."""

UNIT_SUFFIXES = {"seconds": "_seconds", "bytes": "_bytes"}


def test_names_are_unique() -> None:
    names = [each.name for each in METRICS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_follows_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert tuple(sorted(set(metric.buckets))) == metric.buckets
    assert len(set(metric.label_names)) == len(metric.labels)
    # Prometheus gives `job` and `instance`, and renames a target's own.
    assert not {"correlation_id", "job", "instance"} & set(metric.label_names)
    assert metric.most_series <= MOST_SERIES
    for unit, suffix in UNIT_SUFFIXES.items():
        if metric.unit == unit:
            assert suffix in metric.name


def test_no_name_is_written_elsewhere_in_code() -> None:
    names = {each.name for each in METRICS} | {each.family_name for each in METRICS}
    for room in SENDERS:
        for file in (ROOT / room).rglob("*.py"):
            written = set(re.findall(r"\bsluice_[a-z]+_[a-z_]+\b", file.read_text()))
            assert not written & names, file


def test_the_page_of_metrics_is_up_to_date() -> None:
    """`.venv/bin/sluice metrics --reference > docs/metrics.md` writes it anew."""
    assert (ROOT / "docs" / "metrics.md").read_text() == reference_page()
