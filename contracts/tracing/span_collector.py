"""Tells Prometheus what became of spans."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from contracts.metrics import traces as listed

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing


class SpanCollector(Collector):
    """Reads the counts of `tracing` at each scrape; without tracing, all are 0."""

    def __init__(self, tracing: "Tracing | None") -> None:
        self._tracing = tracing

    def collect(self) -> Iterator[Metric]:
        counts = {} if self._tracing is None else self._tracing.counts
        outcomes = sorted(listed.OUTCOME.values or ())
        yield listed.SPANS.family({(outcome,): counts.get(outcome, 0) for outcome in outcomes})
