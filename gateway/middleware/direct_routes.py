"""The short way to the endpoints that are asked most."""

from collections.abc import Awaitable, Mapping

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.envelopes import answer_gateway_error
from gateway.errors import GatewayError


class DirectRoutes:
    """Calls the endpoint of a `POST` to a known path itself, and leaves all else to the router.

    Matching routes and looking for exception handlers takes Starlette a tenth of what a whole
    request takes the gateway.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        """
        Args:
            endpoints: by exact path; the only errors that they answer by raising are GatewayErrors.
        """
        self._app = app
        self._endpoints = endpoints

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own for what it leaves to others.
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                return self._answer(endpoint, scope, receive, send)
        return self._app(scope, receive, send)

    @staticmethod
    async def _answer(endpoint: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await endpoint(scope, receive, send)
        except GatewayError as error:
            await answer_gateway_error(Request(scope), error)(scope, receive, send)
