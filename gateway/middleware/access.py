"""Lets in who has a valid API key, within its limits."""

from collections.abc import Awaitable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.control import AccessControl
from gateway.access.limit_headers import anthropic_limit_headers, openai_limit_headers
from gateway.access.token_charge import TokenCharge
from gateway.envelopes import answer_gateway_error, speaks_anthropic
from gateway.errors import GatewayError
from gateway.http_protocol import REFUSAL
from gateway.request_context import current_request

_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})
_LIMITED_PATHS = "/v1/"


class AccessMiddleware:
    """Sets the request's grant, or answers 401 or 429; while no key is needed, it does nothing.

    What tells that the gateway lives needs no key; what tells more (`/healthz?verbose`,
    `/metrics`) does.
    """

    def __init__(self, app: ASGIApp, access: AccessControl) -> None:
        self._app = app
        self._access = access

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if REFUSAL in scope:
            return answer_gateway_error(Request(scope), scope[REFUSAL])(scope, receive, send)
        # No coroutine of its own: each would take part in every step of every request.
        if self._access.is_open or scope["type"] != "http" or _is_open(scope):
            return self._app(scope, receive, send)
        return self._guard(scope, receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = current_request.get()
        try:
            caller = self._access.identify(context.headers)
            context.grant = caller.grant
            if caller.limits is not None and scope["path"].startswith(_LIMITED_PATHS):
                is_anthropic = speaks_anthropic(scope["path"], context.headers)
                describe = anthropic_limit_headers if is_anthropic else openai_limit_headers
                context.response_headers = self._access.admit(caller, describe)
        except GatewayError as error:
            await answer_gateway_error(Request(scope), error)(scope, receive, send)
            return
        if caller.limits is None or caller.limits.tokens is None:
            await self._app(scope, receive, send)
            return
        charge = TokenCharge(context, send)
        try:
            await self._app(scope, receive, charge.send)
        finally:
            self._access.charge(caller, charge.tokens())


def _is_open(scope: Scope) -> bool:
    return scope["path"] in _OPEN_PATHS and not scope["query_string"]
