"""Makes figures that are read at a scrape visible to a scrape of any other worker.

The metrics' library adds up counters that live in files, one set for each process. A collector
that reads some object's state has none there; it is copied into such metrics now and then.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from contracts.metrics import gateway as listed
from contracts.metrics.definition import Exposer, defined_in
from contracts.metrics.processes import PROCESS_METRICS

_OF_ALL = {
    each.family_name: each.of_workers
    for each in (*defined_in(listed), *PROCESS_METRICS)
    if Exposer.GATEWAY in each.exposed_by
}
"""How a figure of all workers is made of theirs."""

_Labels = tuple[tuple[str, str], ...]


class MirroredCollectors:
    """Copies what the collectors say into metrics that all workers share."""

    def __init__(self) -> None:
        self._collectors: list[Collector] = []
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._counted: dict[tuple[str, _Labels], float] = {}
        self._set: dict[str, set[_Labels]] = {}
        # Figures that never reach a registry of their own: the shared files are what is read.
        self._registry = CollectorRegistry()

    def add(self, collector: Collector) -> None:
        self._collectors.append(collector)

    def update(self) -> None:
        """Bring the shared figures to this moment."""
        for collector in self._collectors:
            for family in collector.collect():
                if family.type == "counter":
                    self._count(family)
                elif family.type == "gauge":
                    self._show(family)

    def _count(self, family: Metric) -> None:
        for sample in family.samples:
            if not sample.name.endswith("_total"):
                continue
            key = (family.name, tuple(sample.labels.items()))
            increase = sample.value - self._counted.get(key, 0.0)
            counter = self._counters.get(family.name)
            if counter is None:
                counter = self._counters[family.name] = Counter(
                    family.name,
                    family.documentation,
                    tuple(sample.labels),
                    registry=self._registry,
                )
            self._counted[key] = sample.value
            (counter.labels(**sample.labels) if sample.labels else counter).inc(max(0.0, increase))

    def _show(self, family: Metric) -> None:
        shown: set[_Labels] = set()
        for sample in family.samples:
            gauge = self._gauge(family, tuple(sample.labels))
            (gauge.labels(**sample.labels) if sample.labels else gauge).set(sample.value)
            shown.add(tuple(sample.labels.items()))
        for gone in self._set.get(family.name, set()) - shown:
            self._gauges[family.name].labels(**dict(gone)).set(0)
        self._set[family.name] = shown

    def _gauge(self, family: Metric, labels: Iterable[str]) -> Gauge:
        gauge = self._gauges.get(family.name)
        if gauge is None:
            gauge = self._gauges[family.name] = Gauge(
                family.name,
                family.documentation,
                tuple(labels),
                registry=self._registry,
                multiprocess_mode=_OF_ALL.get(family.name, "livesum"),
            )
        return gauge
