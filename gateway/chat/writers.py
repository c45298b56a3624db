"""How an answer reaches the client: the part of a dialect that faces the connection."""

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Send

from gateway.errors import GatewayError, Header, openai_error_event
from gateway.openai.sse import SseEvent


class AnswerWriter(Protocol):
    """Writes an answer in one dialect. The core hands over OpenAI's bodies and events."""

    async def send_body(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        """Send a complete answer."""
        ...

    async def start_stream(self, content_type: str, headers: Sequence[Header]) -> None:
        """Send status 200 and the headers of a stream."""
        ...

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        """Send events as they came; `is_last` ends the stream."""
        ...

    async def fail_stream(self, error: GatewayError) -> None:
        """End a stream that has begun with the dialect's error event."""
        ...


class OpenAiWriter:
    """OpenAI's chat completions: nothing to translate, bytes go through."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send_body(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        all_headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})
        await self._send({"type": "http.response.body", "body": body})

    async def start_stream(self, content_type: str, headers: Sequence[Header]) -> None:
        all_headers = [
            (b"content-type", content_type.encode("latin-1")),
            (b"cache-control", b"no-cache"),
            # Reverse proxies of the nginx family would collect the events otherwise.
            (b"x-accel-buffering", b"no"),
            *headers,
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": all_headers})

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        body = b"".join([event.raw for event in events])
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def fail_stream(self, error: GatewayError) -> None:
        await self._send({"type": "http.response.body", "body": openai_error_event(error)})
