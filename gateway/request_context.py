"""What the gateway knows about the request it is answering."""

import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from contracts.event_ids import new_event_id
from contracts.headers import CORRELATION_ID, REQUEST_ID, TRACEPARENT
from contracts.payloads import FlowStage, TokenUsage
from contracts.tracing.trace_context import TraceContext
from gateway.access.grant import Grant
from gateway.errors import Header

CORRELATION_ID_HEADER = CORRELATION_ID.lower().encode()
_REQUEST_ID_HEADER = REQUEST_ID.lower().encode()
_TRACEPARENT_HEADER = TRACEPARENT.lower().encode()

_CORRELATION_ID = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?")
# W3C Trace Context: version ff and all-zero IDs are invalid; later versions may append fields.
_TRACEPARENT = re.compile(
    rb"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[\x21-\x7e]{1,200})?)"
)


CLIENT_CLOSED_REQUEST = 499
"""Noted where the client went away before an answer; nginx's number, never sent."""


@dataclass(slots=True)
class RequestTrace:
    """The spans of a request that is traced, and what is said of them in the end."""

    own: TraceContext
    parent: TraceContext | None
    """The caller's span."""
    backend: TraceContext
    embed: TraceContext
    stages: Sequence[FlowStage] = ()
    first_token_seconds: float | None = None
    """From the request's arrival."""


@dataclass(slots=True)
class RequestContext:
    """One request, from its arrival to the last byte of its answer."""

    correlation_id: str
    traceparent: str | None
    started_at: datetime
    """UTC, when the request arrived."""
    started: float
    """The same moment on the monotonic clock, in seconds."""
    headers: dict[bytes, bytes]
    """Request headers, names in lower case."""

    grant: Grant | None = None
    """What the caller may do; None where no API key is needed, and all is allowed."""
    response_headers: Sequence[Header] = ()
    """Headers that the response gets, over those of the same names from a backend."""
    response_status: int | None = None
    is_event_stream: bool = False
    is_response_complete: bool = False
    model: str | None = None
    backend: str | None = None
    call_status: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    trace: RequestTrace | None = None
    """None where the request is not traced here."""

    @property
    def backend_traceparent(self) -> str | None:
        """What a backend's spans are to belong to."""
        return self.traceparent if self.trace is None else self.trace.backend.traceparent

    def require_model(self, model: str) -> None:
        """Return if the caller may use `model`. Raises ModelNotAllowed."""
        if self.grant is not None:
            self.grant.require_model(model)


current_request: ContextVar[RequestContext] = ContextVar("current_request")


def choose_correlation_id(headers: dict[bytes, bytes]) -> str:
    """Return `X-Correlation-ID`, else `X-Request-ID`, else a new time-based ID.

    A header counts if it is printable ASCII, 1 to 128 characters, no space at its ends.
    """
    for name in (CORRELATION_ID_HEADER, _REQUEST_ID_HEADER):
        value = headers.get(name)
        if value is not None and _CORRELATION_ID.fullmatch(value):
            return value.decode("ascii")
    return new_event_id()[0]


def read_traceparent(headers: dict[bytes, bytes]) -> str | None:
    """Return the `traceparent` header if it is well formed."""
    value = headers.get(_TRACEPARENT_HEADER)
    if value is not None and _TRACEPARENT.fullmatch(value):
        return value.decode("ascii")
    return None
