"""What one metric is, and how it becomes one of the Prometheus client's.

Names follow https://prometheus.io/docs/practices/naming/: base units in the name, `_total` at the
end of a counter's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from types import ModuleType
from typing import Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

_LabelValues = TypeVar("_LabelValues", bound=tuple[str, ...])


class Exposer(StrEnum):
    """Who answers `GET /metrics` with a metric; also the job's name in Prometheus."""

    GATEWAY = "gateway"
    ENCODER = "encoder"
    TELEMETRY = "telemetry"
    """Vector's exporter: what it made of the events on `telemetry.>`."""
    PIPELINE = "pipeline"
    """`sluice metrics`: what broker, database and Dagster say of the pipeline."""


@dataclass(frozen=True)
class Label:
    """A label's name, what it says, and how many values it may have."""

    name: str
    meaning: str
    at_most: int
    """Different values within one process; what multiplies into series."""
    values: frozenset[str] | None = None
    """All that there can be; None where settings or servers decide."""

    @classmethod
    def of(cls, name: str, meaning: str, values: Sequence[str]) -> "Label":
        """A label whose values are known here."""
        return cls(name, meaning, len(values), frozenset(values))


@dataclass(frozen=True)
class Metric:
    """One metric, as it stands in `/metrics`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    exposed_by: tuple[Exposer, ...]
    labels: tuple[Label, ...] = ()
    unit: str = ""
    """What a value counts; empty where `help` says it."""
    buckets: tuple[float, ...] = ()
    """Upper bounds, of a histogram."""
    of_workers: Literal["livesum", "livemin", "livemax"] = "livesum"
    """How one figure is made of those of several workers, of a gauge."""

    @property
    def family_name(self) -> str:
        """The name in `# TYPE` lines of Prometheus' client: without a counter's `_total`."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    @property
    def most_series(self) -> int:
        """How many time series one process can make of it, a histogram's buckets included."""
        each = len(self.buckets) + 3 if self.kind == "histogram" else 1
        return prod(label.at_most for label in self.labels) * each

    @property
    def sample_names(self) -> frozenset[str]:
        """The names that PromQL may ask for."""
        if self.kind != "histogram":
            return frozenset({self.name})
        return frozenset(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))

    def counter(self, registry: CollectorRegistry) -> Counter:
        return Counter(self.name, self.help, self.label_names, registry=registry)

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        return Gauge(self.name, self.help, self.label_names, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        return Histogram(
            self.name, self.help, self.label_names, buckets=self.buckets, registry=registry
        )

    def value(self, value: float) -> CounterMetricFamily | GaugeMetricFamily:
        """Return the metric, one without labels, for a collector to yield."""
        return self.family({(): value})

    def family(
        self, values: Mapping[_LabelValues, float]
    ) -> CounterMetricFamily | GaugeMetricFamily:
        """Return the metric with a sample for each tuple of label values."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.label_names)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family


def defined_in(module: ModuleType) -> tuple[Metric, ...]:
    """Return the metrics that a module defines."""
    return tuple(each for each in vars(module).values() if isinstance(each, Metric))
