"""Brings a chat completion to a client of the Responses protocol."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Send

from gateway.chat.grounding import Grounding
from gateway.chat.writers import send_part, send_whole, start_event_stream
from gateway.errors import GatewayError, Header, ShuttingDown
from gateway.openai.accumulator import describe_error
from gateway.openai.answers import NoAnswer
from gateway.openai.chunks import ChatChunk, read_chunk
from gateway.openai.sse import SseEvent
from gateway.responses.builder import ResponseBuilder
from gateway.responses.errors import StoreUnavailable
from gateway.responses.events import EventEncoder
from gateway.responses.output_items import Event
from gateway.responses.search_results import citations_of, describe_search

KeepResponse = Callable[[Mapping[str, Any], bytes], Awaitable[None]]
"""Stores a response that is over: the object, and its JSON. Raises StoreUnavailable."""

_SERVER_ERROR = "server_error"
_EVENT_STREAM = "text/event-stream; charset=utf-8"

_encode = msgspec.json.Encoder().encode


class ResponsesWriter:
    """Translates bodies and chunks; see `AnswerWriter`.

    A response is kept before its client is told that it is over, so whatever the client asks for
    next finds it.
    """

    def __init__(
        self,
        send: Send,
        builder: ResponseBuilder,
        *,
        is_streaming: bool,
        shows_search: bool,
        shows_results: bool,
        keep: KeepResponse | None,
    ) -> None:
        """
        Args:
            is_streaming: what the client asked for, whatever the backend does.
            shows_search: the search is shown as the call of a tool.
            shows_results: with what it found.
            keep: None where nothing is stored.
        """
        self._send = send
        self._builder = builder
        self._is_streaming = is_streaming
        self._shows_search = shows_search
        self._shows_results = shows_results
        self._keep = keep
        self._encoder = EventEncoder()
        self._grounding: Grounding | None = None
        self._completion = ChatChunk()

    def ground(self, grounding: Grounding) -> None:
        """Take in what retrieval found, before the answer begins."""
        self._grounding = grounding

    def accept_body(self, body: bytes) -> None:
        completion = read_chunk(body)
        if completion is None or (completion.first_choice is None and not completion.has_error):
            raise NoAnswer("the completion has a shape that cannot be translated")
        _number_calls(completion)
        self._completion = completion

    async def send_body(
        self,
        status: int,
        content_type: str,
        headers: Sequence[Header],
        fields: Mapping[str, Any],
    ) -> None:
        chunk = self._completion
        events = [*self._open(fields), *self._add(chunk)]
        if not chunk.has_error:
            events += self._builder.complete()
        document = await self._finish()
        if self._is_streaming:
            await start_event_stream(self._send, _EVENT_STREAM, headers)
            events.append(self._builder.terminal_event())
            await send_part(self._send, self._encoder.encode(events), is_last=True)
        else:
            await send_whole(self._send, status, "application/json", headers, document)

    async def send_refusal(
        self, status: int, content_type: str, headers: Sequence[Header], body: bytes
    ) -> None:
        await send_whole(self._send, status, content_type, headers, body)

    async def start_stream(
        self, content_type: str, headers: Sequence[Header], fields: Mapping[str, Any]
    ) -> None:
        await start_event_stream(self._send, _EVENT_STREAM, headers)
        await send_part(self._send, self._encoder.encode(self._open(fields)))

    async def send_events(self, events: Sequence[SseEvent], *, is_last: bool = False) -> None:
        outgoing: list[Event] = []
        for event in events:
            if event.chunk is not None:
                outgoing += self._add(event.chunk)
        if is_last:
            if not self._builder.has_failed:
                outgoing += self._builder.complete()
            await self._finish()
            outgoing.append(self._builder.terminal_event())
        if outgoing:
            await send_part(self._send, self._encoder.encode(outgoing), is_last=is_last)

    async def fail_stream(self, error: GatewayError) -> None:
        self._builder.fail(_SERVER_ERROR, error.message)
        # Nothing is stored where storing is what failed, or while the gateway ends.
        if not isinstance(error, StoreUnavailable | ShuttingDown):
            # The store logs it; the client is told of the first failure.
            with suppress(StoreUnavailable):
                await self._finish()
        event = self._builder.terminal_event()
        await send_part(self._send, self._encoder.encode([event]), is_last=True)

    def _open(self, fields: Mapping[str, Any]) -> list[Event]:
        self._builder.response.update(fields)
        events = self._builder.start()
        if self._grounding is not None:
            citations = citations_of(self._grounding)
            self._builder.cite(citations)
            if self._shows_search:
                item = describe_search(self._grounding, with_results=self._shows_results)
                events += self._builder.add_search(item)
        return events

    def _add(self, chunk: ChatChunk) -> list[Event]:
        if chunk.has_error:
            self._builder.fail(_SERVER_ERROR, describe_error(chunk.error))
            return []
        return self._builder.add(chunk)

    async def _finish(self) -> bytes:
        """Return the whole response as JSON, once it is stored."""
        document = _encode(self._builder.response)
        if self._keep is not None:
            await self._keep(self._builder.response, document)
        return document


def _number_calls(chunk: ChatChunk) -> None:
    """Give the calls of a complete answer their indices, which only streams have."""
    choice = chunk.first_choice
    if choice is not None and choice.addition is not None:
        for index, call in enumerate(choice.addition.tool_calls or ()):
            call.index = index
