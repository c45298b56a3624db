"""Writes the head of an HTTP response together with the beginning of its body."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_START = b"HTTP/1."
_HEAD_END = b"\r\n\r\n"
_LONGEST_JOINED_BYTES = 64 * 1024
"""Of a longer body the copy would cost more than the second write."""


class HeadJoiningTransport:
    """A transport that holds a response's head back until its body begins.

    uvicorn writes both by a system call each, and the client's host is woken for each. A head
    that nothing follows at once goes out at the end of the event loop's turn.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._write = transport.write
        self._close = transport.close
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._head = b""
        self.is_closing: Callable[[], bool] = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            if len(data) <= _LONGEST_JOINED_BYTES:
                self._write(head + data)
                return
            self._write(head)
        elif data.endswith(_HEAD_END) and data.startswith(_HEAD_START):
            self._head = data
            self._call_soon(self.flush)
            return
        self._write(data)

    def close(self) -> None:
        self.flush()
        self._close()

    def flush(self) -> None:
        """Write the head if it still waits."""
        if self._head:
            head, self._head = self._head, b""
            self._write(head)


class HeadJoiningProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a `HeadJoiningTransport`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(HeadJoiningTransport(transport))  # type: ignore[arg-type]
