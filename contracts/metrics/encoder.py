"""The encoder's metrics."""

from contracts.metrics.definition import Exposer, Label, Metric

_BY = (Exposer.ENCODER,)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

ENDPOINT = Label("endpoint", "a path, or `grpc/` and a method", 10)
STATUS = Label("status", "of HTTP, or gRPC's name", 30)
KIND = Label.of("kind", "what the texts are encoded as", ("query", "document"))

REQUESTS = Metric(
    "sluice_encoder_requests_total",
    "counter",
    "Requests answered, over HTTP by path and over gRPC by method",
    _BY,
    (ENDPOINT, STATUS),
    "requests",
)
REQUEST_DURATION = Metric(
    "sluice_encoder_request_duration_seconds",
    "histogram",
    "From a request's arrival to its answer",
    _BY,
    (ENDPOINT,),
    "seconds",
    _SECONDS,
)
TEXTS = Metric("sluice_encoder_texts_total", "counter", "Texts taken in", _BY, (KIND,), "texts")
TOKENS = Metric("sluice_encoder_tokens_total", "counter", "Tokens taken in", _BY, (KIND,), "tokens")
REFUSALS = Metric(
    "sluice_encoder_refusals_total",
    "counter",
    "Requests that the queue refused",
    _BY,
    unit="requests",
)
QUEUE_TOKENS = Metric(
    "sluice_encoder_queue_tokens", "gauge", "Tokens that wait", _BY, unit="tokens"
)
BATCH_TEXTS = Metric(
    "sluice_encoder_batch_texts", "histogram", "Texts of a batch", _BY, (), "texts", _TEXTS
)
BATCH_TOKENS = Metric(
    "sluice_encoder_batch_tokens",
    "histogram",
    "Tokens of a batch, padding included",
    _BY,
    (),
    "tokens",
    _TOKENS,
)
PADDING_TOKENS = Metric(
    "sluice_encoder_padding_tokens_total",
    "counter",
    "Tokens that only fill up batches",
    _BY,
    unit="tokens",
)
INFERENCES = Metric(
    "sluice_encoder_inference_seconds",
    "histogram",
    "Duration of one batch's inference",
    _BY,
    (),
    "seconds",
    _SECONDS,
)
INFERENCE_FAILURES = Metric(
    "sluice_encoder_inference_failures_total",
    "counter",
    "Batches that the engine failed on",
    _BY,
    unit="batches",
)
