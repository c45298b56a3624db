"""How an answer reaches the client: the part of a dialect that faces the connection."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from starlette.types import Send

from gateway.errors import GatewayError, Header
from gateway.openai.sse import SseEvent


class AnswerWriter(Protocol):
    """Writes one answer in the client's dialect.

    The core hands over bodies and events of the API in which the backend was asked. `fields` are
    what the gateway itself adds to the answer: `sources`, and `retrieval` where that failed.
    """

    def accept_body(self, body: bytes) -> None:
        """Take in a complete answer. Raises NoAnswer where it cannot be translated."""
        ...

    async def send_body(
        self,
        status: int,
        content_type: str,
        headers: Sequence[Header],
        fields: Mapping[str, Any],
    ) -> None:
        """Send the complete answer that was taken in."""
        ...

    async def send_refusal(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        """Send a backend's own error answer."""
        ...

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        """Send status 200 and the headers of a stream."""
        ...

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        """Send some events that a recorder has read, in their order; `is_last` ends the stream."""
        ...

    async def fail_stream(self, error: GatewayError) -> None:
        """End a stream that has begun with the dialect's error event."""
        ...


async def send_whole(
    send: Send, status: int, content_type: str, headers: Sequence[Header], body: bytes
) -> None:
    """Send a response that is complete."""
    all_headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def start_event_stream(send: Send, content_type: str, headers: Sequence[Header]) -> None:
    """Send the head of a response that is an event stream."""
    all_headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"cache-control", b"no-cache"),
        # Reverse proxies of the nginx family would collect the events otherwise.
        (b"x-accel-buffering", b"no"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": all_headers})


async def send_part(send: Send, body: bytes, *, is_last: bool = False) -> None:
    """Send a part of an event stream."""
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})
