"""The backends' state in Prometheus' format."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.backends.breaker import BreakerState
from gateway.backends.http import HttpBackend
from gateway.backends.router import BackendRouter

_BREAKER_VALUES: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}


class BackendCollector(Collector):
    """Reads what the backends know of themselves at each scrape, which costs requests nothing."""

    def __init__(self, router: BackendRouter) -> None:
        self._router = router

    def collect(self) -> Iterator[Metric]:
        backends = self._router.backends
        yield _family(
            GaugeMetricFamily,
            "up",
            "1 unless its health checks fail",
            {each: each.is_up for each in backends},
        )
        yield _family(
            GaugeMetricFamily,
            "breaker_state",
            "0 in use (closed), 1 on trial (half-open), 2 out of use (open)",
            {each: _BREAKER_VALUES[each.breaker.state] for each in backends},
        )
        yield _family(
            GaugeMetricFamily,
            "in_flight",
            "Requests that it works on",
            {each: each.slots.in_flight for each in backends},
        )
        yield _family(
            GaugeMetricFamily,
            "queued",
            "Requests that wait for a place at it; one may wait at several backends",
            {each: len(each.slots.waiting) for each in backends},
        )
        yield _family(
            CounterMetricFamily,
            "retries",
            "Further tries of a request at the same backend",
            {each: each.counters.retries for each in backends},
        )
        yield _family(
            CounterMetricFamily,
            "failovers",
            "Requests that went on to another backend after this one had failed",
            {each: each.counters.failovers for each in backends},
        )
        refused = CounterMetricFamily(
            "sluice_gateway_backend_refused",
            "Requests that were refused without being sent",
            labels=["backend", "reason"],
        )
        for backend in backends:
            for reason, count in backend.counters.refused.items():
                refused.add_metric([backend.name, reason], count)
        yield refused


def _family(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    description: str,
    values: dict[HttpBackend, int],
) -> Metric:
    family = kind(f"sluice_gateway_backend_{name}", description, labels=["backend"])
    for backend, value in values.items():
        family.add_metric([backend.name], value)
    return family
