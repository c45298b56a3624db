"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, as bare ASGI applications."""

import msgspec
from starlette.types import Receive, Send

from gateway.anthropic.native import NativeMessagesExchange
from gateway.anthropic.requests import read_messages_request
from gateway.anthropic.to_chat import chat_request_of
from gateway.anthropic.writer import MessagesWriter, NativeMessagesWriter
from gateway.body_endpoint import BodyEndpoint
from gateway.chat.service import ChatService
from gateway.chat.token_counting import TokenCount, TokenCounter
from gateway.chat.writers import send_whole
from gateway.disconnect import DisconnectWatch
from gateway.errors import Header
from gateway.request_context import RequestContext

ANTHROPIC_MESSAGES = "anthropic.messages"


class MessagesEndpoint(BodyEndpoint):
    """`POST /v1/messages`."""

    def __init__(self, service: ChatService, *, max_body_bytes: int) -> None:
        super().__init__(max_body_bytes=max_body_bytes)
        self._service = service

    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        request = read_messages_request(body)
        request_id = context.correlation_id
        await self._service.answer(
            chat_request_of(request),
            context,
            dialect=ANTHROPIC_MESSAGES,
            writer=MessagesWriter(send, request, request_id=request_id),
            receive=receive,
            native=NativeMessagesExchange(
                request, NativeMessagesWriter(send, request_id=request_id), context.headers
            ),
        )


class CountTokensEndpoint(BodyEndpoint):
    """`POST /v1/messages/count_tokens`."""

    def __init__(self, counter: TokenCounter, *, max_body_bytes: int) -> None:
        super().__init__(max_body_bytes=max_body_bytes)
        self._counter = counter

    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        request = read_messages_request(body, for_counting=True)
        async with DisconnectWatch(receive):
            count = await self._counter.count(chat_request_of(request), context)
        await send_whole(
            send, 200, "application/json", _headers_of(count, context), _body_of(count)
        )


def _body_of(count: TokenCount) -> bytes:
    fields: dict[str, object] = {
        "input_tokens": count.input_tokens,
        "is_estimate": count.is_estimate,
        "retrieved_tokens": count.retrieved_tokens,
    }
    if count.grounding is not None:
        fields.update(count.grounding.extension_fields)
    return msgspec.json.encode(fields)


def _headers_of(count: TokenCount, context: RequestContext) -> list[Header]:
    return [
        (b"x-sluice-token-count", b"estimate" if count.is_estimate else b"exact"),
        (b"request-id", context.correlation_id.encode("ascii")),
    ]
