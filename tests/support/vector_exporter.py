"""The stand-in for Vector between a real broker and a real Prometheus."""

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nats
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from contracts.streams import TELEMETRY, TELEMETRY_CONSUMER
from tests.support.vector_double import Event, VectorDouble

_Tags = tuple[tuple[str, str], ...]


class ExporterDouble(Collector):
    """Adds up what the transforms made, as the sink `prometheus_exporter` does."""

    def __init__(self, buckets: list[float]) -> None:
        self._bounds = [*map(float, buckets), float("inf")]
        self._counters: dict[str, Counter[_Tags]] = defaultdict(Counter)
        self._histograms: dict[str, dict[_Tags, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._lock = threading.Lock()

    def add(self, metric: Event) -> None:
        tags = tuple(sorted(metric["tags"].items()))
        with self._lock:
            if metric["type"] == "counter":
                self._counters[metric["name"]][tags] += metric["value"]
            else:
                self._histograms[metric["name"]][tags].append(metric["value"])

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            for name, values in self._counters.items():
                counter = CounterMetricFamily(name, name, labels=_names(values))
                for tags, value in values.items():
                    counter.add_metric([each for _, each in tags], value)
                yield counter
            for name, series in self._histograms.items():
                histogram = HistogramMetricFamily(name, name, labels=_names(series))
                for tags, values in series.items():
                    buckets = [
                        (
                            "+Inf" if bound == float("inf") else str(bound),
                            sum(v <= bound for v in values),
                        )
                        for bound in self._bounds
                    ]
                    histogram.add_metric([each for _, each in tags], buckets, sum(values))
                yield histogram


def _names(series: Any) -> list[str]:
    return [name for name, _ in next(iter(series), ())]


@contextmanager
def telemetry_exporter(nats_url: str, port: int) -> Iterator[ExporterDouble]:
    """Read TELEMETRY by Vector's durable and user, and answer scrapes on `port`."""
    double = VectorDouble.of("vector.yaml")
    exporter = ExporterDouble(double.config["sinks"]["prometheus"]["buckets"])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(exporter)
    server, _ = start_http_server(port, "127.0.0.1", registry)
    stopping = threading.Event()

    async def read() -> None:
        client = await nats.connect(nats_url, connect_timeout=5)
        subscription = await client.jetstream().pull_subscribe_bind(
            durable=TELEMETRY_CONSUMER, stream=TELEMETRY
        )
        while not stopping.is_set():
            try:
                messages = await subscription.fetch(200, timeout=0.5)
            except TimeoutError:
                continue
            for message in messages:
                await message.ack()
                for metric in double.receive(message.subject, message.data)["limited_metrics"]:
                    exporter.add(metric)
        await client.close()

    thread = threading.Thread(target=lambda: asyncio.run(read()), name="vector-double")
    thread.start()
    try:
        yield exporter
    finally:
        stopping.set()
        thread.join(20)
        server.shutdown()
        server.server_close()
