"""Turns an unexpected exception into an answer in the client's protocol."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.envelopes import error_answer, error_event
from gateway.errors import InternalError
from gateway.request_context import current_request

_log = structlog.get_logger("gateway.recovery")


class RecoveryMiddleware:
    """Answers 500 in the error envelope, or ends a stream that has begun with an error event.

    A response that has begun and is no stream cannot be mended: the exception goes on to the
    server, which closes the connection so that the client sees a truncated body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            context = current_request.get()
            _log.exception("unexpected error")
            error = InternalError(context.correlation_id)
            if context.response_status is None:
                body, headers = error_answer(error, scope["path"], context)
                await send(
                    {
                        "type": "http.response.start",
                        "status": error.status,
                        "headers": headers,
                    }
                )
                await send({"type": "http.response.body", "body": body})
            elif context.is_event_stream and not context.is_response_complete:
                event = error_event(error, scope["path"], context)
                await send({"type": "http.response.body", "body": event})
            elif not context.is_response_complete:
                raise
