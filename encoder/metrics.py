"""The encoder's metrics in Prometheus' format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from knowledge.ports import EmbeddingKind

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class EncoderMetrics:
    """Counters and histograms of one encoder, with a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "sluice_encoder_requests",
            "Requests answered, over HTTP by path and over gRPC by method",
            ("endpoint", "status"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "sluice_encoder_request_duration_seconds",
            "From a request's arrival to its answer",
            ("endpoint",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._texts = Counter(
            "sluice_encoder_texts", "Texts taken in", ("kind",), registry=self.registry
        )
        self._tokens = Counter(
            "sluice_encoder_tokens", "Tokens taken in", ("kind",), registry=self.registry
        )
        self._refusals = Counter(
            "sluice_encoder_refusals", "Requests that the queue refused", registry=self.registry
        )
        self._waiting_tokens = Gauge(
            "sluice_encoder_queue_tokens", "Tokens that wait", registry=self.registry
        )
        self._batch_texts = Histogram(
            "sluice_encoder_batch_texts",
            "Texts of a batch",
            buckets=_TEXTS,
            registry=self.registry,
        )
        self._batch_tokens = Histogram(
            "sluice_encoder_batch_tokens",
            "Tokens of a batch, padding included",
            buckets=_TOKENS,
            registry=self.registry,
        )
        self._padding_tokens = Counter(
            "sluice_encoder_padding_tokens",
            "Tokens that only fill up batches",
            registry=self.registry,
        )
        self._inferences = Histogram(
            "sluice_encoder_inference_seconds",
            "Duration of one batch's inference",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._failures = Counter(
            "sluice_encoder_inference_failures",
            "Batches that the engine failed on",
            registry=self.registry,
        )

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
