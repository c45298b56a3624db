"""The encoder's metrics in Prometheus' format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector

from contracts.metrics import encoder as listed
from knowledge.ports import EmbeddingKind


class EncoderMetrics:
    """Counters and histograms of one encoder, with a registry of their own.

    What they are is said in `contracts.metrics.encoder`.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = listed.REQUESTS.counter(self.registry)
        self._durations = listed.REQUEST_DURATION.histogram(self.registry)
        self._texts = listed.TEXTS.counter(self.registry)
        self._tokens = listed.TOKENS.counter(self.registry)
        self._refusals = listed.REFUSALS.counter(self.registry)
        self._waiting_tokens = listed.QUEUE_TOKENS.gauge(self.registry)
        self._batch_texts = listed.BATCH_TEXTS.histogram(self.registry)
        self._batch_tokens = listed.BATCH_TOKENS.histogram(self.registry)
        self._padding_tokens = listed.PADDING_TOKENS.counter(self.registry)
        self._inferences = listed.INFERENCES.histogram(self.registry)
        self._failures = listed.INFERENCE_FAILURES.counter(self.registry)

    def observe_request(self, endpoint: str, status: int | str, duration_seconds: float) -> None:
        """Count one answered request; `endpoint` is a path or a gRPC method of ours."""
        self._requests.labels(endpoint, str(status)).inc()
        self._durations.labels(endpoint).observe(duration_seconds)

    def count_input(self, kind: EmbeddingKind, *, texts: int, tokens: int) -> None:
        """Count what a request brought."""
        self._texts.labels(kind).inc(texts)
        self._tokens.labels(kind).inc(tokens)

    def count_refusal(self) -> None:
        """Count one request that found the queue full."""
        self._refusals.inc()

    def watch_queue(self, waiting_tokens: Callable[[], float]) -> None:
        """Report `waiting_tokens()` at each scrape."""
        self._waiting_tokens.set_function(waiting_tokens)

    def observe_batch(
        self, *, texts: int, tokens: int, padded_tokens: int, duration_seconds: float
    ) -> None:
        """Count one batch that was run."""
        self._batch_texts.observe(texts)
        self._batch_tokens.observe(padded_tokens)
        self._padding_tokens.inc(padded_tokens - tokens)
        self._inferences.observe(duration_seconds)

    def count_failure(self) -> None:
        """Count one batch that the engine failed on."""
        self._failures.inc()
