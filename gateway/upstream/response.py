"""An answer as it comes in over a connection."""

import asyncio
import zlib
from typing import Protocol

from gateway.upstream.errors import ConnectionBroken

_HIGH_WATER_BYTES = 128 * 1024
"""Of a body that nobody has read yet: the server is held up from here on."""
_LOW_WATER_BYTES = 32 * 1024


class Flow(Protocol):
    """The connection, as its answer sees it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class UpstreamResponse:
    """Status, headers and a body that is read piece by piece by one task."""

    __slots__ = (
        "_error",
        "_flow",
        "_inflater",
        "_is_paused",
        "_parts",
        "_size",
        "_waiter",
        "headers",
        "is_whole",
        "status",
    )

    def __init__(self, flow: Flow) -> None:
        self.status = 0
        """0 until the head has come."""
        self.headers: list[tuple[bytes, bytes]] = []
        """Names in lower case."""
        self.is_whole = False
        """The whole answer has come, though perhaps not been read."""
        self._flow = flow
        self._parts: list[bytes] = []
        self._size = 0
        self._is_paused = False
        self._error: ConnectionBroken | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._inflater: zlib._Decompress | None = None

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the field of this name in lower case."""
        for each, value in self.headers:
            if each == name:
                return value
        return None

    async def wait_for_head(self) -> None:
        """Return once status and headers are there. Raises ConnectionBroken."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    def read_nowait(self) -> bytes:
        """Return what of the body has come and was not read yet."""
        parts = self._parts
        if not parts:
            return b""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._is_paused:
            self._is_paused = False
            self._flow.resume()
        return data

    async def read(self) -> bytes:
        """Return what has come, at least one byte; nothing at the end. Raises ConnectionBroken."""
        while not self._parts:
            if self.is_whole:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.read_nowait()

    async def read_all(self) -> bytes:
        """Return the rest of the body. Raises ConnectionBroken."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Cut the connection unless all has come."""
        if not self.is_whole and self._error is None:
            self._flow.abort()

    def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Take the head."""
        self.status = status
        self.headers = headers
        coding = self.header(b"content-encoding")
        if coding is not None and coding.lower() in (b"gzip", b"x-gzip", b"deflate"):
            # Nobody asked for it. 32: zlib tells gzip's header from its own.
            self._inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
        self._wake()

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._inflater is not None:
            try:
                data = self._inflater.decompress(data)
            except zlib.error:
                self.fail(ConnectionBroken("the body cannot be decompressed"))
                self._flow.abort()
                return
            if not data:
                return
        self._parts.append(data)
        self._size += len(data)
        if self._size > _HIGH_WATER_BYTES and not self._is_paused:
            self._is_paused = True
            self._flow.pause()
        self._wake()

    def end(self) -> None:
        """Take note that all has come."""
        self.is_whole = True
        self._wake()

    def fail(self, error: ConnectionBroken) -> None:
        """Take note that no more will come."""
        if not self.is_whole and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
