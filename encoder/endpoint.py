"""One JSON endpoint over HTTP: body in, body out, failures told in the interface's own shape."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog
from starlette.types import Receive, Scope, Send

from contracts.headers import TRACEPARENT
from encoder.body import read_body
from encoder.dialects import Dialect
from encoder.disconnect import ClientDisconnected, unless_disconnected
from encoder.errors import EncoderError
from encoder.metrics import EncoderMetrics

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing

_CLIENT_CLOSED_REQUEST = 499
"""Counted where the client went away before an answer; nginx's number, never sent."""

_TRACEPARENT = TRACEPARENT.lower().encode()

_log = structlog.get_logger("encoder.endpoint")

Handler = Callable[[bytes], Awaitable[bytes]]
"""Takes a request's body and returns the answer's. Raises EncoderError."""


class JsonEndpoint:
    """A bare ASGI application for one path."""

    def __init__(
        self,
        path: str,
        handle: Handler,
        dialect: Dialect,
        metrics: EncoderMetrics,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._path = path
        self._handle = handle
        self._dialect = dialect
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        status = _CLIENT_CLOSED_REQUEST
        try:
            status, headers, body = await self._answer(scope, receive)
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        except ClientDisconnected:
            pass
        finally:
            self._metrics.observe_request(self._path, status, time.perf_counter() - started)
            if self._tracing is not None:
                traceparent = dict(scope["headers"]).get(_TRACEPARENT, b"").decode("latin-1")
                attributes = {
                    "http.request.method": scope["method"],
                    "http.route": self._path,
                    "http.response.status_code": status,
                }
                self._tracing.record_served_call(
                    f"{scope['method']} {self._path}",
                    traceparent,
                    started,
                    attributes,
                    error=f"status {status}" if status >= 500 else None,
                )

    async def _answer(
        self, scope: Scope, receive: Receive
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        status, extra = 200, []
        try:
            request_body = await read_body(scope, receive)
            body = await unless_disconnected(self._work(request_body), receive)
        except EncoderError as error:
            status, body = self._dialect.status_of(error), self._dialect.body_of(error)
            if error.retry_after_seconds is not None:
                extra.append((b"retry-after", str(error.retry_after_seconds).encode()))
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length), *extra]
        return status, headers, body

    async def _work(self, body: bytes) -> bytes:
        try:
            return await self._handle(body)
        except (EncoderError, ClientDisconnected):
            raise
        except Exception as error:
            _log.exception("unexpected error", path=self._path)
            raise EncoderError("Unexpected error in the encoder; its log says more.") from error
