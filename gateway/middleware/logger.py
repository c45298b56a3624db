"""One log line and one observation in the metrics for each request."""

import re
from time import perf_counter

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.logs import request_log
from gateway.metrics import GatewayMetrics
from gateway.request_context import CLIENT_CLOSED_REQUEST, current_request

_KEY_MARK = "sk-"
_KEY = re.compile(r"sk-[A-Za-z0-9_-]{16,}")
"""An API key in a path, where none belongs; OpenAI's and others' begin like ours."""


class LoggerMiddleware:
    """Logs what was asked, by whom, who answered, how it ended, and what leads to more of it."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._record(scope)

    def _record(self, scope: Scope) -> None:
        context = current_request.get()
        duration = perf_counter() - context.started
        status = context.response_status or CLIENT_CLOSED_REQUEST
        method, path = scope["method"], scope["path"]
        self._metrics.observe_request(method, path, status, duration)
        if _KEY_MARK in path:
            path = _KEY.sub("[redacted]", path)
        fields: dict[str, object] = {
            "method": method,
            "path": path,
            "status": status,
            "duration_seconds": round(duration, 6),
        }
        if context.grant is not None:
            fields["api_key_name"] = context.grant.key_name
        if context.traceparent is not None:
            # Version, trace ID, parent ID, flags: https://www.w3.org/TR/trace-context/
            fields["trace_id"] = context.traceparent.split("-", 2)[1]
        if context.model is not None:
            fields["model"] = context.model
            fields["backend"] = context.backend
            fields["call_status"] = context.call_status
            fields["prompt_tokens"] = context.usage.prompt_tokens
            fields["completion_tokens"] = context.usage.completion_tokens
        fields["correlation_id"] = context.correlation_id
        request_log.write(fields)
