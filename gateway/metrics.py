"""The gateway's own metrics in Prometheus' format."""

import asyncio
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from contracts.payloads import TokenUsage
from gateway.publisher import EventPublisher
from gateway.spool.spool import Spool
from gateway.workers.mirrored_collectors import MirroredCollectors

_DURATION_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
)  # fmt: skip

_KNOWN_PATHS = frozenset(
    {
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
    }
)
_SHARING_SECONDS = 1.0
_SEARCH_STAGES = ("retrieve", "embed", "search", "rerank")
_KNOWN_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class GatewayMetrics:
    """Counters and histograms of one gateway, with a registry of their own.

    Labels hold only what the operator's settings bound: paths are the gateway's routes, and
    there is no label for the model, a name that a client chooses.
    """

    def __init__(self, *, has_siblings: bool = False) -> None:
        """
        Args:
            has_siblings: other processes serve the same port, and their figures count too.
        """
        self.registry = CollectorRegistry()
        self._mirror = MirroredCollectors() if has_siblings else None
        self.watch(ProcessCollector(registry=None))
        self._requests = Counter(
            "sluice_gateway_requests",
            "Requests answered",
            ("method", "path", "status"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "sluice_gateway_request_duration_seconds",
            "From a request's arrival to the last byte of its answer",
            ("path",),
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "sluice_gateway_tokens",
            "Tokens as the backends reported them",
            ("backend", "kind"),
            registry=self.registry,
        )
        self._backend_errors = Counter(
            "sluice_gateway_backend_errors",
            "Calls that a backend failed",
            ("backend", "reason"),
            registry=self.registry,
        )
        self._search_failures = Counter(
            "sluice_gateway_search_failures",
            "Searches that failed (stage retrieve), or went on without one of their stages",
            ("stage",),
            registry=self.registry,
        )
        self._purged_responses = Counter(
            "sluice_gateway_purged_responses",
            "Stored responses removed because they expired, or were more than is kept for a key",
            ("reason",),
            registry=self.registry,
        )
        for stage in _SEARCH_STAGES:
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
            known_method = method if method in _KNOWN_METHODS else "other"
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
        yield GaugeMetricFamily(
            "sluice_gateway_broker_connected",
            "1 while the broker is connected",
            value=float(publisher.is_connected),
        )
        yield GaugeMetricFamily(
            "sluice_gateway_events_waiting",
            "Events that the broker has not acknowledged yet",
            value=publisher.waiting_events,
        )
        yield GaugeMetricFamily(
            "sluice_gateway_events_waiting_bytes",
            "Bytes of the events in memory that the broker has not acknowledged yet",
            value=publisher.waiting_bytes,
        )
        shipped = CounterMetricFamily(
            "sluice_gateway_events_shipped",
            "Events that the broker acknowledged",
            labels=["subject"],
        )
        for subject, count in publisher.shipped.items():
            shipped.add_metric([subject], count)
        yield shipped
        dropped = CounterMetricFamily(
            "sluice_gateway_events_dropped",
            "Events that were lost",
            labels=["subject", "reason"],
        )
        for (subject, reason), count in publisher.dropped.items():
            dropped.add_metric([subject, reason], count)
        yield dropped
        yield from _spool_metrics(publisher.spool)


def _spool_metrics(spool: Spool) -> Iterator[Metric]:
    counters = spool.counters
    yield GaugeMetricFamily(
        "sluice_gateway_spool_writable",
        "1 while events can be written to the spool",
        value=float(spool.failure is None),
    )
    yield GaugeMetricFamily(
        "sluice_gateway_spool_bytes", "Bytes of the spool's files", value=spool.stored_bytes
    )
    failures = CounterMetricFamily(
        "sluice_gateway_spool_write_failures",
        "Refused writes, after which an event is in memory alone",
        labels=["reason"],
    )
    for reason, count in counters.write_failures.items():
        failures.add_metric([reason], count)
    yield failures
    for name, description, value in (
        ("torn_records", "Last records that a killed process had not written", counters.torn),
        ("damages", "Stretches of damaged bytes that were skipped", counters.corrupt),
        ("adoptions", "Directories taken over from workers that are gone", counters.adopted),
    ):
        yield CounterMetricFamily(f"sluice_gateway_spool_{name}", description, value=value)


def _route_of(path: str) -> str:
    if path in _KNOWN_PATHS:
        return path
    if path.startswith("/v1/models/"):
        return "/v1/models/{id}"
    if path.startswith("/v1/responses/"):
        return "/v1/responses/{id}"
    return "other"
