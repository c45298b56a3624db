"""Responses requests to a backend that speaks the protocol itself: its own bytes go through.

What the client sends is changed only where the gateway has a part in it: another name of the
model, passages in the last user's message, and earlier turns, which the gateway knows and the
backend need not.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Raw
from starlette.types import Send

from gateway.backends.requests import Api
from gateway.chat.writers import AnswerWriter, send_part, send_whole, start_event_stream
from gateway.errors import GatewayError, Header, ShuttingDown
from gateway.openai.answers import Answer
from gateway.openai.completions import with_fields
from gateway.openai.sse import SseEvent
from gateway.responses.errors import StoreUnavailable
from gateway.responses.events import error_event, write_event
from gateway.responses.items import FILE_SEARCH_CALL, Item, is_cut_call, kind_of
from gateway.responses.native_answers import (
    FAILED,
    TERMINAL_EVENTS,
    NativeRecorder,
    read_answer,
    read_event,
)
from gateway.responses.requests import ResponsesRequest
from gateway.responses.writer import KeepResponse
from knowledge.composition import ComposedContext
from knowledge.queries import find_last_user_message

_encode = msgspec.json.Encoder().encode
_object_decoder = msgspec.json.Decoder(dict[str, Any])


class NativeExchange:
    """One call in the backend's own Responses API; see `Exchange`."""

    api: Api = "responses"
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        request: ResponsesRequest,
        items: Sequence[Item] | None,
        writer: "NativeWriter",
    ) -> None:
        """
        Args:
            items: what goes in place of the client's input; None where that stands for itself.
        """
        self._request = request
        self._items = None if items is None else [item for item in items if _is_sendable(item)]
        self.writer: AnswerWriter = writer

    def body(self, context: ComposedContext | None, *, model: str) -> bytes:
        request = self._request
        changes: dict[str, Any] = {}
        if model != request.model:
            changes["model"] = model
        if self._items is not None or context is not None:
            items = request.items if self._items is None else self._items
            changes["input"] = items if context is None else _inject(items, context)
        leaves = {"retrieval"} & request.fields.keys()
        if self._items is not None:
            leaves.add("previous_response_id")
        if not changes and not leaves:
            return request.raw
        fields: dict[str, Any] = {**request.fields, **changes}
        for name in leaves:
            fields.pop(name, None)
        return _encode(fields)

    def read_body(self, body: bytes) -> Answer:
        return read_answer(body)

    def new_recorder(self) -> NativeRecorder:
        return NativeRecorder()


class NativeWriter:
    """Brings a backend's response to the client, once it is stored; see `AnswerWriter`."""

    def __init__(
        self, send: Send, *, changes: Mapping[str, Any], keep: KeepResponse | None
    ) -> None:
        """
        Args:
            changes: fields of the response that say what the client asked, not the gateway.
            keep: None where nothing is stored.
        """
        self._send = send
        self._changes = dict(changes)
        self._keep = keep
        self._body = b""
        self._sequence_number = -1
        self._response: bytes | None = None
        """As it began."""

    def accept_body(self, body: bytes) -> None:
        self._body = body

    async def send_body(
        self,
        status: int,
        content_type: str,
        headers: Sequence[Header],
        fields: Mapping[str, Any],
    ) -> None:
        self._changes.update(fields)
        document = self._changed(self._body)
        await self._store(document)
        await send_whole(self._send, status, content_type, headers, document)

    async def send_refusal(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        await send_whole(self._send, status, content_type, headers, body)

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        self._changes.update(fields)
        await start_event_stream(self._send, content_type, headers)

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        outgoing = [await self._outgoing(event) for event in events]
        await send_part(self._send, b"".join(outgoing), is_last=is_last)

    async def fail_stream(self, error: GatewayError) -> None:
        number = self._sequence_number + 1
        if self._response is None:
            await send_part(self._send, error_event(error, number), is_last=True)
            return
        failure = {"code": "server_error", "message": error.message}
        document = with_fields(self._response, {"status": FAILED, "error": failure})
        if not isinstance(error, StoreUnavailable | ShuttingDown):
            with suppress(StoreUnavailable):
                await self._store(document)
        fields = {"response": Raw(document)}
        event = write_event("response.failed", fields, number)
        await send_part(self._send, event, is_last=True)

    async def _outgoing(self, event: SseEvent) -> bytes:
        read = read_event(event)
        if read is None:
            return event.raw
        if read.sequence_number is not None:
            self._sequence_number = read.sequence_number
        if not bytes(read.response):
            return event.raw
        document = self._changed(bytes(read.response))
        if read.type == "response.created":
            self._response = document
        elif read.type in TERMINAL_EVENTS:
            await self._store(document)
        if not self._changes:
            return event.raw
        number = self._sequence_number if read.sequence_number is None else read.sequence_number
        return write_event(read.type, {"response": Raw(document)}, number)

    def _changed(self, document: bytes) -> bytes:
        return with_fields(document, self._changes) if self._changes else document

    async def _store(self, document: bytes) -> None:
        if self._keep is not None:
            await self._keep(_object_decoder.decode(document), document)


def _inject(items: Sequence[Item], context: ComposedContext) -> list[Item]:
    """Return the items with `context` at the end of the last user's message."""
    injected = list(items)
    index = find_last_user_message(injected)
    if index is not None:
        message = injected[index]
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "input_text", "text": content}]
        addition = {"type": "input_text", "text": context.text}
        injected[index] = {**message, "content": [*parts, addition]}
    return injected


def _is_sendable(item: Item) -> bool:
    """A search was the gateway's own, and nobody can have answered a call that was cut off."""
    return kind_of(item) != FILE_SEARCH_CALL and not is_cut_call(item)
