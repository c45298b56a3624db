"""The backends' state in Prometheus' format."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from contracts.metrics import gateway as listed
from contracts.metrics.definition import Metric as ListedMetric
from gateway.backends.breaker import BreakerState
from gateway.backends.http import HttpBackend
from gateway.backends.router import BackendRouter

_BREAKER_VALUES: dict[BreakerState, int] = {"closed": 0, "half_open": 1, "open": 2}

_FIGURES: tuple[tuple[ListedMetric, Callable[[HttpBackend], int]], ...] = (
    (listed.BACKEND_UP, lambda backend: backend.is_up),
    (listed.BREAKER_STATE, lambda backend: _BREAKER_VALUES[backend.breaker.state]),
    (listed.BACKEND_IN_FLIGHT, lambda backend: backend.slots.in_flight),
    (listed.BACKEND_QUEUED, lambda backend: len(backend.slots.waiting)),
    (listed.BACKEND_RETRIES, lambda backend: backend.counters.retries),
    (listed.BACKEND_FAILOVERS, lambda backend: backend.counters.failovers),
)


class BackendCollector(Collector):
    """Reads what the backends know of themselves at each scrape, which costs requests nothing."""

    def __init__(self, router: BackendRouter) -> None:
        self._router = router

    def collect(self) -> Iterator[Metric]:
        backends = self._router.backends
        for metric, read in _FIGURES:
            yield metric.family({(each.name,): read(each) for each in backends})
        yield listed.BACKEND_REFUSED.family(
            {
                (each.name, reason): count
                for each in backends
                for reason, count in each.counters.refused.items()
            }
        )
