"""The gateway's own metrics in Prometheus' format."""

import asyncio
from collections.abc import Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from contracts.metrics import gateway as listed
from contracts.payloads import TokenUsage
from gateway.publisher import EventPublisher
from gateway.spool.spool import Spool
from gateway.workers.mirrored_collectors import MirroredCollectors

_SHARING_SECONDS = 1.0
_PATHS = listed.PATH.values or frozenset()
_METHODS = listed.METHOD.values or frozenset()


class GatewayMetrics:
    """Counters and histograms of one gateway, with a registry of their own.

    What they are is said in `contracts.metrics.gateway`.
    """

    def __init__(self, *, has_siblings: bool = False) -> None:
        """
        Args:
            has_siblings: other processes serve the same port, and their figures count too.
        """
        self.registry = CollectorRegistry()
        self._mirror = MirroredCollectors() if has_siblings else None
        self.watch(ProcessCollector(registry=None))
        self._requests = listed.REQUESTS.counter(self.registry)
        self._durations = listed.REQUEST_DURATION.histogram(self.registry)
        self._tokens = listed.TOKENS.counter(self.registry)
        self._backend_errors = listed.BACKEND_ERRORS.counter(self.registry)
        self._search_failures = listed.SEARCH_FAILURES.counter(self.registry)
        self._purged_responses = listed.PURGED_RESPONSES.counter(self.registry)
        for stage in listed.SEARCH_STAGE.values or ():
            # Known from the start, so that the first failure is an increase.
            self._search_failures.labels(stage)
        # `labels()` takes a lock and hashes its arguments on every call: keep what it returned.
        self._request_children: dict[tuple[str, str, int], Counter] = {}
        self._duration_children: dict[str, Histogram] = {}
        self._token_children: dict[tuple[str, str], Counter] = {}

    def observe_request(self, method: str, path: str, status: int, duration_seconds: float) -> None:
        """Count one answered request."""
        route = _route_of(path)
        key = (method, route, status)
        requests = self._request_children.get(key)
        if requests is None:
            known_method = method if method in _METHODS else listed.OTHER
            requests = self._requests.labels(known_method, route, str(status))
            if known_method == method:
                self._request_children[key] = requests
        requests.inc()
        durations = self._duration_children.get(route)
        if durations is None:
            durations = self._duration_children[route] = self._durations.labels(route)
        durations.observe(duration_seconds)

    def count_tokens(self, backend: str, usage: TokenUsage) -> None:
        """Count the tokens of one call."""
        if usage.prompt_tokens:
            self._token_counter(backend, "prompt").inc(usage.prompt_tokens)
        if usage.completion_tokens:
            self._token_counter(backend, "completion").inc(usage.completion_tokens)

    def _token_counter(self, backend: str, kind: str) -> Counter:
        counter = self._token_children.get((backend, kind))
        if counter is None:
            counter = self._token_children[backend, kind] = self._tokens.labels(backend, kind)
        return counter

    def count_backend_error(self, backend: str, reason: str) -> None:
        """Count one failed call of a backend; `reason` is e.g. `unreachable` or `http_429`."""
        self._backend_errors.labels(backend, reason).inc()

    def count_search_failure(self, stage: str) -> None:
        """Count a stage of a search that failed; `retrieve` is the whole of it."""
        self._search_failures.labels(stage).inc()

    def count_purged_responses(self, reason: str, count: int) -> None:
        """Count stored responses that were removed: `expired` or `surplus`."""
        self._purged_responses.labels(reason).inc(count)

    def watch(self, collector: Collector) -> None:
        """Report at each scrape what `collector` reads then; counters and gauges only."""
        if self._mirror is None:
            self.registry.register(collector)
        else:
            self._mirror.add(collector)

    def watch_publisher(self, publisher: EventPublisher) -> None:
        """Report `publisher`'s figures at each scrape."""
        self.watch(_PublisherCollector(publisher))

    def render(self) -> bytes:
        """Return all figures, those of the other processes too, in Prometheus' text format."""
        if self._mirror is None:
            return generate_latest(self.registry)
        self._mirror.update()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    async def share(self) -> None:
        """Show the others what is read here, every second, for ever; alone, nothing is to do."""
        while self._mirror is not None:
            self._mirror.update()
            await asyncio.sleep(_SHARING_SECONDS)


class _PublisherCollector(Collector):
    """Reads the publisher's own counters, which costs the request path nothing."""

    def __init__(self, publisher: EventPublisher) -> None:
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        publisher = self._publisher
        yield listed.BROKER_CONNECTED.value(float(publisher.is_connected))
        yield listed.EVENTS_WAITING.value(publisher.waiting_events)
        yield listed.EVENTS_WAITING_BYTES.value(publisher.waiting_bytes)
        yield listed.EVENTS_SHIPPED.family(_by_one_label(publisher.shipped))
        yield listed.EVENTS_DROPPED.family(publisher.dropped)
        yield from _spool_metrics(publisher.spool)


def _spool_metrics(spool: Spool) -> Iterator[Metric]:
    counters = spool.counters
    yield listed.SPOOL_WRITABLE.value(float(spool.failure is None))
    yield listed.SPOOL_BYTES.value(spool.stored_bytes)
    yield listed.SPOOL_WRITE_FAILURES.family(_by_one_label(counters.write_failures))
    yield listed.SPOOL_TORN_RECORDS.value(counters.torn)
    yield listed.SPOOL_DAMAGES.value(counters.corrupt)
    yield listed.SPOOL_ADOPTIONS.value(counters.adopted)


def _by_one_label(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(label,): count for label, count in counts.items()}


def _route_of(path: str) -> str:
    if path in _PATHS:
        return path
    if path.startswith("/v1/models/"):
        return listed.MODEL_PATH
    if path.startswith("/v1/responses/"):
        return listed.RESPONSE_PATH
    return listed.OTHER
