"""The gateway's own metrics.

Labels hold only what the operator's settings bound: there is none for the model, a name that a
client chooses.
"""

from contracts.metrics.definition import Exposer, Label, Metric
from contracts.subjects import PipelineSubject, TelemetrySubject

_BY = (Exposer.GATEWAY,)

DURATION_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
)  # fmt: skip

OTHER = "other"
MODEL_PATH = "/v1/models/{id}"
RESPONSE_PATH = "/v1/responses/{id}"

METHOD = Label.of(
    "method",
    "of the request",
    ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", OTHER),
)
PATH = Label.of(
    "path",
    "the route; `other` for all that is none",
    (
        "/v1/chat/completions",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/models",
        "/healthz",
        "/readyz",
        "/metrics",
        MODEL_PATH,
        RESPONSE_PATH,
        OTHER,
    ),
)
STATUS = Label("status", "HTTP status; 499 where the client went away before an answer", 40)
BACKEND = Label("backend", "its name in the settings; `sluice-encoder` is the encoder", 50)
TOKEN_KIND = Label.of("kind", "of the tokens", ("prompt", "completion"))
BACKEND_REASON = Label("reason", "`unreachable`, `http_429`, `stream_error` and the like", 60)
SEARCH_STAGE = Label.of(
    "stage",
    "of the search; `retrieve` is the whole of it",
    ("retrieve", "embed", "search", "rerank"),
)
PURGE_REASON = Label.of("reason", "why they went", ("expired", "surplus"))
SUBJECT = Label.of("subject", "of the events", (*PipelineSubject, *TelemetrySubject))
DROP_REASON = Label("reason", "`queue_full`, `too_large`, `shutdown` or what the broker said", 10)
ERRNO = Label("reason", "the system's error, such as `ENOSPC`", 20)
REFUSAL = Label.of("reason", "why it was not sent", ("queue_full", "queue_timeout", "out_of_use"))

REQUESTS = Metric(
    "sluice_gateway_requests_total",
    "counter",
    "Requests answered",
    _BY,
    (METHOD, PATH, STATUS),
    "requests",
)
REQUEST_DURATION = Metric(
    "sluice_gateway_request_duration_seconds",
    "histogram",
    "From a request's arrival to the last byte of its answer",
    _BY,
    (PATH,),
    "seconds",
    DURATION_BUCKETS,
)
TOKENS = Metric(
    "sluice_gateway_tokens_total",
    "counter",
    "Tokens as the backends reported them",
    _BY,
    (BACKEND, TOKEN_KIND),
    "tokens",
)
BACKEND_ERRORS = Metric(
    "sluice_gateway_backend_errors_total",
    "counter",
    "Calls that a backend failed",
    _BY,
    (BACKEND, BACKEND_REASON),
    "calls",
)
SEARCH_FAILURES = Metric(
    "sluice_gateway_search_failures_total",
    "counter",
    "Searches that failed (stage retrieve), or went on without one of their stages",
    _BY,
    (SEARCH_STAGE,),
    "searches",
)
PURGED_RESPONSES = Metric(
    "sluice_gateway_purged_responses_total",
    "counter",
    "Stored responses removed because they expired, or were more than is kept for a key",
    _BY,
    (PURGE_REASON,),
    "responses",
)
BROKER_CONNECTED = Metric(
    "sluice_gateway_broker_connected",
    "gauge",
    "1 while the broker is connected",
    _BY,
    of_workers="livemin",
)
EVENTS_WAITING = Metric(
    "sluice_gateway_events_waiting",
    "gauge",
    "Events that the broker has not acknowledged yet",
    _BY,
    unit="events",
)
EVENTS_WAITING_BYTES = Metric(
    "sluice_gateway_events_waiting_bytes",
    "gauge",
    "Bytes of the events in memory that the broker has not acknowledged yet",
    _BY,
    unit="bytes",
)
EVENTS_SHIPPED = Metric(
    "sluice_gateway_events_shipped_total",
    "counter",
    "Events that the broker acknowledged",
    _BY,
    (SUBJECT,),
    "events",
)
EVENTS_DROPPED = Metric(
    "sluice_gateway_events_dropped_total",
    "counter",
    "Events that were lost",
    _BY,
    (SUBJECT, DROP_REASON),
    "events",
)
SPOOL_WRITABLE = Metric(
    "sluice_gateway_spool_writable",
    "gauge",
    "1 while events can be written to the spool",
    _BY,
    of_workers="livemin",
)
SPOOL_BYTES = Metric(
    "sluice_gateway_spool_bytes", "gauge", "Bytes of the spool's files", _BY, unit="bytes"
)
SPOOL_WRITE_FAILURES = Metric(
    "sluice_gateway_spool_write_failures_total",
    "counter",
    "Refused writes, after which an event is in memory alone",
    _BY,
    (ERRNO,),
    "writes",
)
SPOOL_TORN_RECORDS = Metric(
    "sluice_gateway_spool_torn_records_total",
    "counter",
    "Last records that a killed process had not written",
    _BY,
    unit="records",
)
SPOOL_DAMAGES = Metric(
    "sluice_gateway_spool_damages_total",
    "counter",
    "Stretches of damaged bytes that were skipped",
    _BY,
    unit="stretches",
)
SPOOL_ADOPTIONS = Metric(
    "sluice_gateway_spool_adoptions_total",
    "counter",
    "Directories taken over from workers that are gone",
    _BY,
    unit="directories",
)
BACKEND_UP = Metric(
    "sluice_gateway_backend_up",
    "gauge",
    "1 unless its health checks fail",
    _BY,
    (BACKEND,),
    of_workers="livemin",
)
BREAKER_STATE = Metric(
    "sluice_gateway_backend_breaker_state",
    "gauge",
    "0 in use (closed), 1 on trial (half-open), 2 out of use (open)",
    _BY,
    (BACKEND,),
    of_workers="livemax",
)
BACKEND_IN_FLIGHT = Metric(
    "sluice_gateway_backend_in_flight",
    "gauge",
    "Requests that it works on",
    _BY,
    (BACKEND,),
    "requests",
)
BACKEND_QUEUED = Metric(
    "sluice_gateway_backend_queued",
    "gauge",
    "Requests that wait for a place at it; one may wait at several backends",
    _BY,
    (BACKEND,),
    "requests",
)
BACKEND_RETRIES = Metric(
    "sluice_gateway_backend_retries_total",
    "counter",
    "Further tries of a request at the same backend",
    _BY,
    (BACKEND,),
    "tries",
)
BACKEND_FAILOVERS = Metric(
    "sluice_gateway_backend_failovers_total",
    "counter",
    "Requests that went on to another backend after this one had failed",
    _BY,
    (BACKEND,),
    "requests",
)
BACKEND_REFUSED = Metric(
    "sluice_gateway_backend_refused_total",
    "counter",
    "Requests that were refused without being sent",
    _BY,
    (BACKEND, REFUSAL),
    "requests",
)
