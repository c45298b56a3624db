"""What Vector makes of the events on `telemetry.>`.

Here models and tools are labels: Vector takes a label off a metric that has too many of its values
(`tag_cardinality_limit`), which the gateway's own metrics cannot.
"""

from contracts.metrics.definition import Exposer, Label, Metric
from contracts.metrics.gateway import TOKEN_KIND
from contracts.subjects import TelemetrySubject

_BY = (Exposer.TELEMETRY,)

BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2.5, 5, 10, 30, 60,
    120, 300,
)  # fmt: skip
"""Of all histograms: the exporter has one set. For durations in seconds, and scores up to 1."""

MOST_TAG_VALUES = 100
"""Beyond these a label is taken off a metric."""

SUBJECT = Label.of("subject", "of the events", tuple(TelemetrySubject))
MODEL = Label("model", "as the backend was asked for it", MOST_TAG_VALUES)
BACKEND = Label("backend", "its name in the settings", MOST_TAG_VALUES)
DIALECT = Label.of(
    "dialect",
    "what the client spoke",
    ("openai.chat", "anthropic.messages", "openai.responses"),
)
CALL_STATUS = Label.of("status", "how the call ended", ("completed", "failed", "cancelled"))
IS_STREAMING = Label.of("is_streaming", "whether the answer was a stream", ("true", "false"))
METHOD = Label.of("method", "how was searched", ("text", "vector", "hybrid"))
SEARCH_STATUS = Label.of("status", "how the search ended", ("ok", "degraded", "failed"))
FUNCTION_NAME = Label("function_name", "the tool, a name that a client chooses", MOST_TAG_VALUES)

EVENTS = Metric(
    "sluice_telemetry_events_total",
    "counter",
    "Telemetry events that Vector read",
    _BY,
    (SUBJECT,),
    "events",
)
CHAT_CALLS = Metric(
    "sluice_chat_calls_total",
    "counter",
    "Finished calls of a chat model",
    _BY,
    (MODEL, BACKEND, DIALECT, CALL_STATUS, IS_STREAMING),
    "calls",
)
CHAT_DURATION = Metric(
    "sluice_chat_duration_seconds",
    "histogram",
    "From a chat call's arrival to its end",
    _BY,
    (MODEL, BACKEND),
    "seconds",
    BUCKETS,
)
FIRST_TOKEN = Metric(
    "sluice_chat_first_token_seconds",
    "histogram",
    "From a chat call's arrival to the first token of its answer, of streams",
    _BY,
    (MODEL, BACKEND),
    "seconds",
    BUCKETS,
)
CHAT_TOKENS = Metric(
    "sluice_chat_tokens_total",
    "counter",
    "Tokens of chat calls, as the backends reported them",
    _BY,
    (MODEL, BACKEND, TOKEN_KIND),
    "tokens",
)
EMBEDDING_DURATION = Metric(
    "sluice_embedding_duration_seconds",
    "histogram",
    "Duration of a call of an embedding model",
    _BY,
    (MODEL,),
    "seconds",
    BUCKETS,
)
EMBEDDING_INPUTS = Metric(
    "sluice_embedding_inputs_total",
    "counter",
    "Texts that were embedded for clients and searches",
    _BY,
    (MODEL,),
    "texts",
)
RETRIEVALS = Metric(
    "sluice_retrievals_total",
    "counter",
    "Searches for passages",
    _BY,
    (METHOD, SEARCH_STATUS),
    "searches",
)
RETRIEVAL_DURATION = Metric(
    "sluice_retrieval_duration_seconds",
    "histogram",
    "Duration of a search for passages",
    _BY,
    (METHOD,),
    "seconds",
    BUCKETS,
)
RETRIEVAL_HITS = Metric(
    "sluice_retrieval_hits_total",
    "counter",
    "Passages that searches found",
    _BY,
    (METHOD,),
    "passages",
)
EMPTY_RETRIEVALS = Metric(
    "sluice_retrieval_empty_total",
    "counter",
    "Searches that found no passage",
    _BY,
    (METHOD,),
    "searches",
)
BEST_SCORE = Metric(
    "sluice_retrieval_best_score",
    "histogram",
    "Score of the best passage of a search that found one",
    _BY,
    (METHOD,),
    "score",
    BUCKETS,
)
TOOL_CALLS = Metric(
    "sluice_tool_calls_total",
    "counter",
    "Tool calls in answers",
    _BY,
    (MODEL, FUNCTION_NAME),
    "calls",
)
