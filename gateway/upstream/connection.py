"""One connection to a server."""

import asyncio
from collections.abc import Callable

import httptools

from gateway.upstream.errors import ConnectionBroken
from gateway.upstream.response import UpstreamResponse

_LONGEST_HEAD_BYTES = 64 * 1024
_LONGEST_JOINED_BYTES = 64 * 1024
"""Of a longer body the copy would cost more than a second buffer."""


class UpstreamConnection(asyncio.Protocol):
    """Sends a request and parses its answer; then it is free for the next one.

    The names of the parser's callbacks are httptools'.
    """

    def __init__(self, on_free: Callable[["UpstreamConnection"], None]) -> None:
        """
        Args:
            on_free: called when the answer has come whole and the connection may be used again.
        """
        self.free_since = 0.0
        """Event loop time."""
        self._on_free = on_free
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._response: UpstreamResponse | None = None
        self._head_size = 0
        """Bytes that came since the head began; 0 while none is awaited."""
        self._headers: list[tuple[bytes, bytes]] = []
        self._is_framed = False
        """The body's end is told by its length or by the last chunk, not by the connection's."""
        self._is_over = False
        self._is_reusable = False

    @property
    def is_closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    async def exchange(self, head: bytes, body: bytes) -> UpstreamResponse:
        """Send a request; return its answer once the head has come. Raises ConnectionBroken."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionBroken("the connection was closed")
        response = self._response = UpstreamResponse(self)
        self._head_size = 1
        self._is_over = False
        if len(body) <= _LONGEST_JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        try:
            await response.wait_for_head()
        except BaseException:
            self.abort()
            raise
        return response

    def pause(self) -> None:
        """Take no more from the server for now."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection at once: the server sees that nobody waits any more."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self._response is None or parser is None:
            # Nothing was asked: whatever this is, the next answer would not be the next one's.
            self.abort()
            return
        if self._head_size:
            self._head_size += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError:
            # An upgrade that nobody asked for is one too.
            self._break("what came is no HTTP")
            return
        if self._is_over:
            self._release()
        elif self._head_size > _LONGEST_HEAD_BYTES:
            self._break("the head is too long")

    def connection_lost(self, error: Exception | None) -> None:
        response, self._response = self._response, None
        self._transport = self._parser = None
        if response is None:
            return
        if error is None and response.status and not self._is_framed:
            response.end()
        else:
            response.fail(ConnectionBroken("the connection was closed"))

    def on_message_begin(self) -> None:
        if self._is_over:
            self._is_reusable = False
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, response = self._parser, self._response
        if parser is None or response is None or self._is_over:
            return
        status = parser.get_status_code()
        if status < 200:
            # Informational (RFC 9110, section 15.2): the answer is still to come.
            return
        self._head_size = 0
        # Fields of a trailer are none of the head's.
        headers, self._headers = self._headers, []
        self._is_framed = status in (204, 304) or any(
            name in (b"content-length", b"transfer-encoding") for name, _ in headers
        )
        response.begin(status, headers)

    def on_body(self, body: bytes) -> None:
        if self._response is not None and not self._is_over:
            self._response.add(body)

    def on_message_complete(self) -> None:
        parser, response = self._parser, self._response
        if parser is None or response is None or self._is_over or not response.status:
            return
        self._is_over = True
        self._is_reusable = parser.should_keep_alive()
        response.end()

    def _release(self) -> None:
        self._response = None
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        # A server that answers before it has read the request reads the rest as the next one.
        if self._is_reusable and not transport.get_write_buffer_size():
            transport.resume_reading()
            self._on_free(self)
        else:
            transport.abort()

    def _break(self, what: str) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.fail(ConnectionBroken(what))
        self.abort()
