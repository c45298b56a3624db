"""A model server's answer as it comes in."""

import asyncio
from collections.abc import Callable

from gateway.backends.retry_after import read_retry_after
from gateway.coarse_timers import TimeLimit
from gateway.errors import BackendError, Header
from gateway.upstream.errors import ConnectionBroken
from gateway.upstream.response import UpstreamResponse

_PASSED_BACK = frozenset({b"x-request-id", b"request-id", b"retry-after", b"retry-after-ms"})
_PASSED_BACK_PREFIXES = (b"openai-", b"anthropic-", b"x-ratelimit-")
_DRAIN_SECONDS = 0.25


class HttpAnswer:
    """See `BackendAnswer`."""

    def __init__(
        self,
        backend: str,
        path: str,
        response: UpstreamResponse,
        *,
        first_byte_due: float,
        idle_timeout_seconds: float,
        secret: bytes | None = None,
    ) -> None:
        """
        Args:
            first_byte_due: event loop time.
            secret: what a refusal is not to repeat.
        """
        self.backend = backend
        self.path = path
        self.status = response.status
        content_type = b"application/octet-stream"
        self.headers: list[Header] = []
        for name, value in response.headers:
            if name == b"content-type":
                content_type = value
            elif name in _PASSED_BACK or name.startswith(_PASSED_BACK_PREFIXES):
                self.headers.append((name, value))
        self.content_type = content_type.decode("latin-1")
        self.on_failure: Callable[[], None] | None = None
        """Called when the answer breaks off or falls silent."""
        self.on_close: Callable[[bool], None] | None = None
        """Called once, with whether all of the answer was read."""
        self._response = response
        self._first_byte_due: float | None = first_byte_due
        self._idle_timeout_seconds = idle_timeout_seconds
        self._secret = secret
        self._first_bytes = b""

    @property
    def is_event_stream(self) -> bool:
        return self.content_type.lower().startswith("text/event-stream")

    @property
    def _is_json(self) -> bool:
        return self.content_type.lower().startswith("application/json")

    @property
    def retry_after_seconds(self) -> float | None:
        """When the server asks to be asked again."""
        return read_retry_after(dict(self._response.headers))

    async def wait_for_beginning(self) -> None:
        """Return once a client could be sent something; only a refusal may have no body.

        Of a stream that is its first byte. JSON is sent whole, so until all of it is here another
        backend may still be asked. Raises BackendError.
        """
        self._first_bytes = await self.read_some()
        if not self._first_bytes and 200 <= self.status < 300:
            raise self._fail("ended its answer before it began", "broken")
        if self._is_json and not self._response.is_whole:
            self._first_bytes = await self.read_all()

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read_some():
            parts.append(part)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._secret and self.status >= 400:
            # Servers like to repeat a key that they do not take.
            body = body.replace(self._secret, b"[redacted]")
        return body

    async def read_some(self) -> bytes:
        if data := self._first_bytes:
            self._first_bytes = b""
            return data
        response = self._response
        deadline, self._first_byte_due = self._first_byte_due, None
        # What is there already needs no timer.
        data = response.read_nowait()
        if data or response.is_whole:
            return data
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + self._idle_timeout_seconds
        try:
            with TimeLimit(deadline):
                return await response.read()
        except TimeoutError as error:
            raise self._fail("fell silent", "timeout", status=504) from error
        except ConnectionBroken as error:
            raise self._fail("broke off its answer", "broken") from error

    async def drain(self) -> None:
        if self._response.is_whole:
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._response.read_all()
        except (ConnectionBroken, TimeoutError):
            self._response.close()

    def close(self) -> None:
        self._response.close()
        if self.on_close is not None:
            on_close, self.on_close = self.on_close, None
            on_close(self._response.is_whole)

    def _fail(self, what: str, reason: str, *, status: int = 502) -> BackendError:
        if self.on_failure is not None:
            self.on_failure()
        return BackendError.of(self.backend, what, reason, status=status)
