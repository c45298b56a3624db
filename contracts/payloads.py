"""Payloads of the events. Durations are in seconds, moments in UTC, scores unitless."""

from datetime import datetime
from typing import Any

from msgspec import Struct, field


class TokenUsage(Struct, kw_only=True, omit_defaults=True):
    """Token counts as the backend reported them; None where it did not."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    """Of the prompt's tokens, those that the backend had in its cache."""
    cache_creation_tokens: int | None = None
    """Of the prompt's tokens, those that it put into its cache."""
    is_estimate: bool = False


class ChatPersist(Struct, kw_only=True, omit_defaults=True):
    """One finished call of a chat model: the request's messages and the answer."""

    dialect: str
    """Protocol the client spoke: `openai.chat`, `anthropic.messages` or `openai.responses`."""
    model: str
    backend: str
    status: str
    """`completed`, `failed` or `cancelled` (the client went away)."""
    messages: list[dict[str, Any]]
    """The conversation as the client sent it, OpenAI chat messages."""
    answer: dict[str, Any] | None
    """The assistant message; None where no byte of it came."""
    tools: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters of the request: temperature, max_tokens and the like."""
    is_streaming: bool = False
    finish_reason: str | None = None
    error: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    started_at: datetime
    duration_seconds: float
    first_token_seconds: float | None = None
    source_chunk_ids: list[str] = field(default_factory=list)
    """Chunks of documents that were injected into the prompt."""


class FlowStage(Struct, kw_only=True, omit_defaults=True):
    """One stage of a request's way through the gateway."""

    name: str
    """`retrieve`, `compose`, `backend`; with an encoder also `embed` and `rerank`."""
    offset_seconds: float
    """Start, counted from the arrival of the request."""
    duration_seconds: float
    status: str = "ok"
    details: dict[str, Any] = field(default_factory=dict)


class FlowLineage(Struct, kw_only=True, omit_defaults=True):
    """What happened to one request, stage by stage, and which events it left."""

    dialect: str
    model: str
    backend: str
    status: str
    started_at: datetime
    duration_seconds: float
    stages: list[FlowStage]
    source_chunk_ids: list[str] = field(default_factory=list)
    event_ids: list[str] = field(default_factory=list)
    """The request's other events, so that the lineage joins to them."""


class ToolCall(Struct, kw_only=True, omit_defaults=True):
    """One tool call in an answer."""

    tool_call_id: str
    function_name: str
    arguments: str
    """As the model wrote it: mostly a JSON object, not always a valid one."""
    position: int
    model: str
    backend: str


class EmbeddingRequest(Struct, kw_only=True, omit_defaults=True):
    """One call of an encoder."""

    model: str
    kind: str
    """`query` or `document`."""
    input_count: int
    dimensions: int
    duration_seconds: float
    prompt_tokens: int | None = None


class Candidate(Struct, kw_only=True, omit_defaults=True):
    """A chunk that retrieval considered; a score is None where its stage did not run."""

    chunk_id: str
    rank: int
    vector_score: float | None = None
    text_score: float | None = None
    fused_score: float | None = None
    """Of text and vector search together; the scale is that of the setting `fusion`."""
    maxsim_score: float | None = None


class Retrieval(Struct, kw_only=True, omit_defaults=True):
    """One search for passages."""

    query: str
    collection: str | None = None
    method: str
    """`text`, `vector` or `hybrid`."""
    top_k: int
    candidates: list[Candidate]
    duration_seconds: float
    status: str = "ok"
    """`ok`, `degraded` (a stage failed and the others served) or `failed` (nothing was found
    because nothing could be searched)."""
    error: str | None = None
    embedding_model: str | None = None
    rerank_model: str | None = None
    """Model whose token vectors gave the MaxSim scores."""


class Composition(Struct, kw_only=True, omit_defaults=True):
    """What was injected into the prompt."""

    query: str
    model: str
    chunk_ids: list[str]
    dropped_chunk_ids: list[str] = field(default_factory=list)
    token_count: int
    """Tokens of the injected text, an estimate where the backend has no tokenizer."""
    token_budget: int
    duration_seconds: float


class ChatTelemetry(Struct, kw_only=True, omit_defaults=True):
    """Figures of one chat call, without its content."""

    model: str
    backend: str
    dialect: str
    status: str
    is_streaming: bool
    usage: TokenUsage
    duration_seconds: float
    first_token_seconds: float | None = None


class EmbeddingTelemetry(Struct, kw_only=True, omit_defaults=True):
    """Figures of one encoder call."""

    model: str
    input_count: int
    dimensions: int
    duration_seconds: float


class RetrievalTelemetry(Struct, kw_only=True, omit_defaults=True):
    """Figures of one search."""

    top_k: int
    hit_count: int
    scores: list[float]
    duration_seconds: float
    method: str = "text"
    status: str = "ok"


class ToolCallTelemetry(Struct, kw_only=True, omit_defaults=True):
    """Which tool which model called."""

    function_name: str
    model: str


PipelinePayload = ChatPersist | FlowLineage | ToolCall | EmbeddingRequest | Retrieval | Composition
TelemetryPayload = ChatTelemetry | EmbeddingTelemetry | RetrievalTelemetry | ToolCallTelemetry
Payload = PipelinePayload | TelemetryPayload
