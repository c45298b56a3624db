"""Messages for a client that speaks them, made of chat completions or as a backend made them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct
from starlette.types import Send

from gateway.anthropic.answers import message_of
from gateway.anthropic.errors import anthropic_error_body, anthropic_error_event, refusal_text
from gateway.anthropic.requests import MessagesRequest
from gateway.anthropic.stream import PING, MessageStream, message_event
from gateway.chat.writers import send_part, send_whole, start_event_stream
from gateway.errors import GatewayError, Header
from gateway.openai.answers import NoAnswer
from gateway.openai.chunks import ChatChunk, read_chunk
from gateway.openai.completions import with_fields
from gateway.openai.sse import SseEvent


class _MessageStart(Struct):
    type: str
    message: Raw


_start_decoder = msgspec.json.Decoder(_MessageStart)
_REQUEST_ID = b"request-id"
_JSON = "application/json"
_EVENT_STREAM = "text/event-stream; charset=utf-8"


class _AnthropicWriter:
    """What both writers tell a client in the same way."""

    def __init__(self, send: Send, *, request_id: str) -> None:
        self._send = send
        self._request_id = request_id

    async def send_refusal(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        refusal = anthropic_error_body(refusal_text(body), status, self._request_id)
        await send_whole(self._send, status, _JSON, self._with_id(headers), refusal)

    async def fail_stream(self, error: GatewayError) -> None:
        event = anthropic_error_event(error.message, error.status, self._request_id)
        await send_part(self._send, event, is_last=True)

    def _with_id(self, headers: Sequence[Header]) -> list[Header]:
        own = (_REQUEST_ID, self._request_id.encode("ascii"))
        return [*(header for header in headers if header[0] != _REQUEST_ID), own]


class MessagesWriter(_AnthropicWriter):
    """Translates bodies and events; see `AnswerWriter`."""

    def __init__(self, send: Send, request: MessagesRequest, *, request_id: str) -> None:
        super().__init__(send, request_id=request_id)
        self._request = request
        self._stream = MessageStream(model=request.model, stop_sequences=request.stop_sequences)
        self._completion = ChatChunk()

    def accept_body(self, body: bytes) -> None:
        completion = read_chunk(body)
        if completion is None or completion.first_choice is None:
            raise NoAnswer("the completion has a shape that cannot be translated")
        self._completion = completion

    async def send_body(
        self,
        status: int,
        content_type: str,
        headers: Sequence[Header],
        fields: Mapping[str, Any],
    ) -> None:
        if self._request.is_streaming:
            # The backend does not stream. Clients that asked for events wait for events.
            await self.start_stream(_EVENT_STREAM, headers, fields)
            rest = self._stream.add(self._completion) + self._stream.finish()
            await send_part(self._send, rest, is_last=True)
            return
        message = message_of(
            self._completion,
            model=self._request.model,
            stop_sequences=self._request.stop_sequences,
        )
        translated = msgspec.json.encode({**message, **fields})
        await send_whole(self._send, status, _JSON, self._with_id(headers), translated)

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        await start_event_stream(self._send, content_type, self._with_id(headers))
        await send_part(self._send, self._stream.start(fields))

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        parts: list[bytes] = []
        for event in events:
            if event.data is None:
                # A keep-alive; a comment would do nothing for clients that count events.
                parts.append(PING)
            elif event.chunk is None:
                continue
            elif event.chunk.has_error:
                text = refusal_text(event.data)
                parts.append(anthropic_error_event(text, 500, self._request_id))
                await send_part(self._send, b"".join(parts), is_last=True)
                return
            else:
                parts.append(self._stream.add(event.chunk))
        if is_last:
            parts.append(self._stream.finish())
        if body := b"".join(parts):
            await send_part(self._send, body, is_last=is_last)


class NativeMessagesWriter(_AnthropicWriter):
    """Hands bodies and events on as they are; see `AnswerWriter`."""

    def __init__(self, send: Send, *, request_id: str) -> None:
        super().__init__(send, request_id=request_id)
        self._body = b""
        self._due_fields: Mapping[str, Any] = {}
        """What the message that starts is to be given."""

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
        await send_whole(self._send, status, content_type, self._with_id(headers), body)

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        self._due_fields = fields
        await start_event_stream(self._send, content_type, self._with_id(headers))

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        body = b"".join(
            [self._extended(event) if self._due_fields else event.raw for event in events]
        )
        await send_part(self._send, body, is_last=is_last)

    def _extended(self, event: SseEvent) -> bytes:
        if event.data is None or b'"message_start"' not in event.data:
            return event.raw
        try:
            started = _start_decoder.decode(event.data)
        except msgspec.DecodeError:
            return event.raw
        message = Raw(with_fields(bytes(started.message), self._due_fields))
        self._due_fields = {}
        return message_event({"type": started.type, "message": message})
