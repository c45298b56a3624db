"""A call in the Messages API itself, for backends that speak it: llama.cpp, vLLM, LM Studio."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from gateway.anthropic.blocks import ToolResultBlock
from gateway.anthropic.native_answers import MessagesRecorder, read_message
from gateway.anthropic.requests import Message, MessagesRequest
from gateway.backends.requests import Api
from gateway.chat.writers import AnswerWriter
from gateway.openai.answers import Answer
from knowledge.composition import ComposedContext, append_context

_VERSION = b"anthropic-version"
_DEFAULT_VERSION = "2023-06-01"
_BETA = b"anthropic-beta"

_encoder = msgspec.json.Encoder()
_messages_decoder = msgspec.json.Decoder(list[Raw])
_message_decoder = msgspec.json.Decoder(dict[str, Raw])
_content_decoder = msgspec.json.Decoder(str | list[Raw])


class NativeMessagesExchange:
    """The client's own bytes, both ways; see `Exchange`."""

    api: Api = "messages"

    def __init__(
        self, request: MessagesRequest, writer: AnswerWriter, headers: Mapping[bytes, bytes]
    ) -> None:
        self._request = request
        self.writer = writer
        self.headers: Mapping[str, str] = _passed_headers(headers)

    def body(self, context: ComposedContext | None, *, model: str) -> bytes:
        request = self._request
        fields = dict(request.fields)
        if model != request.model:
            fields["model"] = Raw(_encoder.encode(model))
        if fields.pop("retrieval", None) is None and model == request.model and context is None:
            return request.body
        if context is not None:
            fields["messages"] = _with_context(request, context)
        return _encoder.encode(fields)

    def read_body(self, body: bytes) -> Answer:
        return read_message(body)

    def new_recorder(self) -> MessagesRecorder:
        return MessagesRecorder()


def _passed_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    version = headers.get(_VERSION)
    passed = {
        "anthropic-version": _DEFAULT_VERSION if version is None else version.decode("latin-1")
    }
    if (beta := headers.get(_BETA)) is not None:
        passed["anthropic-beta"] = beta.decode("latin-1")
    return passed


def _with_context(request: MessagesRequest, context: ComposedContext) -> Raw:
    """Return the messages with `context` in the last user turn; all others keep their bytes."""
    index = _find_last_user_turn(request.messages)
    messages = _messages_decoder.decode(request.fields["messages"])
    if index is None:
        return request.fields["messages"]
    message = _message_decoder.decode(messages[index])
    content: Any = append_context(_content_decoder.decode(message["content"]), context)
    messages[index] = Raw(_encoder.encode({**message, "content": content}))
    return Raw(_encoder.encode(messages))


def _find_last_user_turn(messages: Sequence[Message]) -> int | None:
    """Return the index of the last message that says more than what tools gave back."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role == "user" and (
            isinstance(message.content, str)
            or any(not isinstance(block, ToolResultBlock) for block in message.content)
        ):
            return index
    return None
