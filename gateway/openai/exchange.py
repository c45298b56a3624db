"""A call in the API of chat completions."""

from collections.abc import Mapping

from gateway.backends.requests import Api
from gateway.chat.writers import AnswerWriter
from gateway.openai.accumulator import AnswerAccumulator
from gateway.openai.answers import Answer
from gateway.openai.completions import read_completion
from gateway.openai.requests import ChatRequest
from knowledge.composition import ComposedContext, inject_context


class ChatExchange:
    """The client's own request where it speaks this dialect, a translated one otherwise.

    See `Exchange`.
    """

    api: Api = "chat"
    headers: Mapping[str, str] = {}

    def __init__(self, request: ChatRequest, writer: AnswerWriter) -> None:
        self._request = request
        self.writer = writer

    def body(self, context: ComposedContext | None, *, model: str) -> bytes:
        messages = None
        if context is not None:
            messages = inject_context(self._request.conversation, context)
        return self._request.forwarded_body(messages, model=model)

    def read_body(self, body: bytes) -> Answer:
        return read_completion(body)

    def new_recorder(self) -> AnswerAccumulator:
        return AnswerAccumulator()
