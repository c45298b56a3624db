"""What a call is charged against its key's tokens: the backend's figures, or an estimate."""

from starlette.types import Message, Send

from gateway.request_context import RequestContext

_BYTES_PER_TOKEN = 4
_EVENT = b"data:"


class TokenCharge:
    """Follows one answer, for the case that no usage comes with it.

    A client that leaves before a stream's end would otherwise have all before it for nothing.
    """

    def __init__(self, context: RequestContext, send: Send) -> None:
        self._context = context
        self._send = send
        self._answer_tokens = 0

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer."""
        if body := message.get("body"):
            # A model server sends one event for each token.
            self._answer_tokens += (
                body.count(_EVENT)
                if self._context.is_event_stream
                else len(body) // _BYTES_PER_TOKEN
            )
        await self._send(message)

    def tokens(self) -> int:
        """Return what the call has used, once it is over."""
        context = self._context
        usage = context.usage
        if usage.total_tokens is not None:
            return usage.total_tokens
        if usage.prompt_tokens is not None or usage.completion_tokens is not None:
            return (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        has_failed = context.response_status is not None and context.response_status >= 400
        if context.model is None or has_failed:
            return 0
        announced = context.headers.get(b"content-length", b"0")
        prompt_bytes = int(announced) if announced.isdigit() else 0
        return prompt_bytes // _BYTES_PER_TOKEN + self._answer_tokens
