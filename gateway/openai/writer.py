"""Chat completions for a client that speaks them: bytes go through."""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import Send

from gateway.chat.writers import send_part, send_whole, start_event_stream
from gateway.errors import GatewayError, Header, openai_error_event
from gateway.openai.backend_errors import complete_envelope
from gateway.openai.completions import with_fields
from gateway.openai.sse import SseEvent

_BROKEN_STREAM = 500
"""The status that an error in mid-stream would have had."""


class ChatWriter:
    """Hands bodies and events on as they are; see `AnswerWriter`.

    Args:
        wants_usage: the client asked for the chunk that has the usage alone.
    """

    def __init__(self, send: Send, *, wants_usage: bool) -> None:
        self._send = send
        self._wants_usage = wants_usage
        self._body = b""
        self._due_fields: Mapping[str, Any] = {}
        """What the next chunk is to be given."""

    def accept_body(self, body: bytes) -> None:
        self._body = body

    async def send_body(
        self,
        status: int,
        content_type: str,
        headers: Sequence[Header],
        fields: Mapping[str, Any],
    ) -> None:
        body = with_fields(self._body, fields) if fields else self._body
        await send_whole(self._send, status, content_type, headers, body)

    async def send_refusal(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        body = complete_envelope(body, status=status)
        await send_whole(self._send, status, content_type, headers, body)

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        self._due_fields = fields
        await start_event_stream(self._send, content_type, headers)

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        if is_last and events and _has_error(events[-1]):
            events = [*events[:-1], _completed(events[-1])]
        if self._due_fields:
            events = [self._extended(event) for event in events]
        if self._wants_usage:
            body = b"".join([event.raw for event in events])
        else:
            body = b"".join([event.raw for event in events if not _is_usage_only(event)])
        if body or is_last:
            await send_part(self._send, body, is_last=is_last)

    async def fail_stream(self, error: GatewayError) -> None:
        await send_part(self._send, openai_error_event(error), is_last=True)

    def _extended(self, event: SseEvent) -> SseEvent:
        if event.data is None or event.chunk is None or not self._due_fields:
            return event
        if _is_usage_only(event) and not self._wants_usage:
            return event
        data = with_fields(event.data, self._due_fields)
        self._due_fields = {}
        return SseEvent(b"data: " + data + b"\n\n", data, event.chunk)


def _has_error(event: SseEvent) -> bool:
    return event.chunk is not None and event.chunk.has_error


def _completed(event: SseEvent) -> SseEvent:
    data = complete_envelope(event.data or b"", status=_BROKEN_STREAM)
    return SseEvent(b"data: " + data + b"\n\n", data, event.chunk)


def _is_usage_only(event: SseEvent) -> bool:
    return event.chunk is not None and event.chunk.is_usage_only
