"""The gateway and what it does with a request."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from contracts.settings.section import Port, Seconds, Section


class GatewaySettings(Section):
    """The HTTP gateway."""

    host: str = "127.0.0.1"
    port: Port = 8080
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    publish_queue_events: int = Field(
        default=50_000,
        ge=1,
        description="Events in memory on their way to the broker; the spool holds what is over it.",
    )
    publish_queue_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    shutdown_grace_seconds: Seconds = 5.0
    log_format: Literal["console", "json"] = "console"
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve the port.")
    max_header_count: int = Field(default=128, ge=8, description="Header fields of a request.")
    max_header_bytes: int = Field(
        default=65_536, ge=1024, description="Of a request's line and header fields together."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="After the signal to stop, requests are still taken this long; /readyz is 503.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file, the chain included. With it, the gateway is HTTPS."
    )
    tls_key: Path | None = Field(default=None, description="PEM file without a passphrase.")
    tls_min_version: Literal["1.2", "1.3"] = "1.2"
    keys_file: Path | None = Field(
        default=None, description="File of API keys; default: `keys.json` in data_dir."
    )

    @model_validator(mode="after")
    def _require_whole_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @property
    def url(self) -> str:
        """Where this machine reaches the gateway."""
        scheme = "http" if self.tls_certificate is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


class SpoolSettings(Section):
    """The gateway's local files, in which events wait for the broker."""

    dir: Path | None = Field(
        default=None, description="On a local disk. Default: `spool` in data_dir."
    )
    max_bytes: int = Field(
        default=4 * 1024**3,
        ge=64 * 1024,
        description="Of one worker. Above it events stay in memory, and the newest are refused.",
    )
    segment_bytes: int = Field(
        default=16 * 1024**2, ge=4096, description="A file is removed when all in it is shipped."
    )
    fsync: Literal["never", "interval", "always"] = Field(
        default="never",
        description="A killed gateway loses nothing either way; a machine that loses power does.",
    )
    fsync_seconds: Seconds = Field(default=1.0, description="Where fsync is `interval`.")


class RoutingSettings(Section):
    """The choice among the backends that serve a model, and what follows on a failure."""

    choice: Literal["least_busy", "weighted"] = Field(
        default="least_busy",
        description="Least busy: fewest requests in flight for its weight. Weighted: by turns.",
    )
    attempts: int = Field(
        default=3, ge=1, le=10, description="Tries of one request, on one backend or several."
    )
    retry_seconds: Seconds = Field(
        default=10.0, description="No further try begins later than this after the first."
    )
    backoff_seconds: Seconds = Field(
        default=0.1, description="Before the second try of the same backend; then doubled."
    )
    breaker_failures: int = Field(
        default=5, ge=1, description="Failures in a row that take a backend out of use."
    )
    breaker_seconds: Seconds = Field(
        default=10.0, description="Time until a backend out of use gets one request as a trial."
    )
    health_interval_seconds: Seconds = Field(
        default=10.0, description="Between two looks at whether a backend is up."
    )


class RetrievalSettings(Section):
    """Passages added to a chat request."""

    enabled: bool = True
    top_k: int = Field(default=5, ge=1, le=100)
    token_budget: int = Field(default=2000, ge=50, description="Tokens of injected text.")
    timeout_seconds: Seconds = Field(
        default=2.0, description="A search that takes longer is left out of the prompt."
    )
    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="Least cosine similarity of a passage."
    )
    candidates: int = Field(
        default=100, ge=1, le=1000, description="Chunks that each of text and vector brings."
    )
    fusion: Literal["scores", "rrf"] = Field(
        default="scores",
        description="How text and vector order become one: by their scores, or by reciprocal rank.",
    )
    rerank: Literal["auto", "on", "off"] = Field(
        default="auto", description="`auto`: where the encoder's model is known to gain by it."
    )
    rerank_depth: int = Field(default=50, ge=1, le=200, description="Chunks MaxSim is done for.")
    hnsw_ef_search: int = Field(
        default=200, ge=1, le=1000, description="Breadth of the search in the HNSW index."
    )


class ResponsesSettings(Section):
    """What the Responses API keeps, in the table `api_responses`. Limits count for each key."""

    store: bool = Field(
        default=True, description="Whether a response is kept where the request does not say."
    )
    max_age_seconds: Seconds = Field(
        default=30 * 86_400.0, description="Since the conversation last went on."
    )
    max_responses: int = Field(default=10_000, ge=1, description="The longest unused go first.")
    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024, description="JSON, as sent.")
    max_turns: int = Field(
        default=1000, ge=1, description="Responses that a conversation may go back to."
    )
    max_conversation_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    timeout_seconds: Seconds = Field(
        default=5.0, description="A request fails with 503 where the database takes longer."
    )
    purge_interval_seconds: Seconds = 60.0
