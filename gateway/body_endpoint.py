"""What the endpoints that take a body have in common."""

from abc import ABC, abstractmethod

from starlette.types import Receive, Scope, Send

from gateway.body import read_body
from gateway.disconnect import ClientDisconnected
from gateway.request_context import RequestContext, current_request


class BodyEndpoint(ABC):
    """A bare ASGI application that reads the whole body, then answers."""

    def __init__(self, *, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = current_request.get()
        try:
            body = await read_body(receive, context.headers, limit=self._max_body_bytes)
            await self.answer(body, context, receive, send)
        except ClientDisconnected:
            return

    @abstractmethod
    async def answer(
        self, body: bytes, context: RequestContext, receive: Receive, send: Send
    ) -> None:
        """Answer the request of `body`.

        Raises:
            GatewayError: nothing has been sent yet, and the client is to be told this.
            ClientDisconnected: nobody is to be told.
        """
