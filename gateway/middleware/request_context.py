"""Gives each request its context: correlation ID, trace parent, arrival, what was answered."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.headers import CORRELATION_ID
from gateway.errors import Header
from gateway.request_context import (
    RequestContext,
    choose_correlation_id,
    current_request,
    read_traceparent,
)

if TYPE_CHECKING:
    from gateway.request_traces import RequestTraces

_RESPONSE_HEADER = CORRELATION_ID.encode()
_LIMITS = (b"x-ratelimit-", b"anthropic-ratelimit-")


class RequestContextMiddleware:
    """Sets `current_request` and returns the correlation ID in `X-Correlation-ID`.

    It alone wraps `send`, and writes down the response's status and completion for the
    middleware further in, which saves each of them a wrapper on every streamed chunk.
    """

    def __init__(self, app: ASGIApp, traces: "RequestTraces | None" = None) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        context = RequestContext(
            correlation_id=choose_correlation_id(headers),
            traceparent=read_traceparent(headers),
            started_at=datetime.now(UTC),
            started=perf_counter(),
            headers=headers,
        )
        correlation_header = (_RESPONSE_HEADER, context.correlation_id.encode("ascii"))

        async def send_with_context(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.response_status = message["status"]
                response_headers = message.setdefault("headers", [])
                response_headers.append(correlation_header)
                if context.response_headers:
                    _replace_limits(response_headers, context.response_headers)
                for name, value in response_headers:
                    if name == b"content-type":
                        context.is_event_stream = value.startswith(b"text/event-stream")
            elif not message.get("more_body", False):
                context.is_response_complete = True
            await send(message)

        current_request.set(context)
        if self._traces is None:
            await self._app(scope, receive, send_with_context)
            return
        self._traces.begin(scope, context)
        try:
            await self._app(scope, receive, send_with_context)
        finally:
            self._traces.end(scope, context)


def _replace_limits(headers: list[Header], own: Sequence[Header]) -> None:
    """Put what is left to the caller in the place of what a backend says is left to the gateway."""
    headers[:] = [header for header in headers if not header[0].startswith(_LIMITS)]
    headers.extend(own)
