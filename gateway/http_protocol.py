"""HTTP/1.1 by httptools, with a bound on the head of a request."""

from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from gateway.access.errors import HeadersTooLarge
from gateway.errors import INVALID_REQUEST, GatewayError, openai_error_body
from gateway.http_output import HeadJoiningProtocol

REFUSAL = "sluice.refusal"
"""Key in the ASGI scope of a request that is only to be answered with this GatewayError."""


@dataclass(frozen=True)
class HeadLimits:
    """How large a request's head may be."""

    count: int
    """Header fields."""
    size: int
    """Bytes of names and values, and of the request line."""


class BoundedHttpProtocol(HeadJoiningProtocol):
    """Refuses requests whose head is over the limits, before its end has come where need be.

    The parser collects a head without a bound, so what has come of it is counted here. A refused
    request goes through the application, which answers and logs it as any other; then the
    connection is closed.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: Any = None,
        *,
        limits: HeadLimits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._chunk_size = 0
        self._head_size = 0
        """Bytes that have come since the head began; 0 while none is being read."""
        self._is_refused = False

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._chunk_size = len(data)
        if self._head_size:
            self._head_size += self._chunk_size
        super().data_received(data)
        if self._head_size > self._limits.size and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_size = self._chunk_size

    def on_headers_complete(self) -> None:
        if len(self.headers) > self._limits.count or (
            self._head_size > self._limits.size and self._is_head_too_large()
        ):
            self._refuse()
            return
        self._head_size = 0
        super().on_headers_complete()

    def _is_head_too_large(self) -> bool:
        # Part of what came in one piece may be the body.
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return size > self._limits.size

    def _refuse(self) -> None:
        limits = self._limits
        self._head_size = 0
        self._is_refused = True
        if len(self.headers) > limits.count:
            error = HeadersTooLarge("fields", limits.count, "max_header_count")
        else:
            error = HeadersTooLarge("bytes", limits.size, "max_header_bytes")
        del self.headers[limits.count :]
        self.scope[REFUSAL] = error  # type: ignore[literal-required]
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            # The request line itself has no end.
            self._close_with(error)
            return
        self.cycle.keep_alive = False
        self.cycle.more_body = False

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the envelope that a client expects."""
        self._close_with(
            GatewayError(msg, status=400, error_type=INVALID_REQUEST, code="invalid_http")
        )

    def _close_with(self, error: GatewayError) -> None:
        body = openai_error_body(error)
        head = [
            STATUS_LINE[error.status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, body]))
        self.transport.close()
