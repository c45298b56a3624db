"""Failures told in the envelope of the client's protocol."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.anthropic.errors import anthropic_error_body, anthropic_error_event
from gateway.errors import (
    INVALID_REQUEST,
    GatewayError,
    Header,
    openai_error_body,
    openai_error_event,
)
from gateway.request_context import RequestContext, current_request

_ANTHROPIC_PATHS = "/v1/messages"
_ANTHROPIC_VERSION = b"anthropic-version"


def speaks_anthropic(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the client speaks Anthropic's protocol: by the path, or by its header."""
    return path.startswith(_ANTHROPIC_PATHS) or _ANTHROPIC_VERSION in headers


def error_answer(
    error: GatewayError, path: str, context: RequestContext
) -> tuple[bytes, list[Header]]:
    """Return the body and the headers of the answer that tells `error`."""
    headers: list[Header] = [(b"content-type", b"application/json")]
    if speaks_anthropic(path, context.headers):
        request_id = context.correlation_id
        body = anthropic_error_body(error.message, error.status, request_id)
        headers.append((b"request-id", request_id.encode("ascii")))
    else:
        body = openai_error_body(error)
    headers.append((b"content-length", str(len(body)).encode()))
    headers.extend(error.headers)
    return body, headers


def error_event(error: GatewayError, path: str, context: RequestContext) -> bytes:
    """Return the event that tells `error` in a stream, and ends it."""
    if speaks_anthropic(path, context.headers):
        return anthropic_error_event(error.message, error.status, context.correlation_id)
    return openai_error_event(error)


def answer_gateway_error(request: Request, error: Exception) -> Response:
    """Tell the client a failure."""
    if not isinstance(error, GatewayError):
        raise error
    body, headers = error_answer(error, request.url.path, current_request.get())
    response = Response(body, error.status)
    response.raw_headers[:] = headers
    return response


def answer_http_exception(request: Request, error: Exception) -> Response:
    """Tell the client of Starlette's own refusals (404, 405)."""
    if not isinstance(error, HTTPException):
        raise error
    method, path = request.method, request.url.path
    if error.status_code == 404:
        message, code = f"Unknown path: {method} {path}.", "unknown_url"
    elif error.status_code == 405:
        message, code = f"Method {method} is not allowed for {path}.", "method_not_allowed"
    else:
        message, code = error.detail, None
    refusal = GatewayError(message, status=error.status_code, error_type=INVALID_REQUEST, code=code)
    response = answer_gateway_error(request, refusal)
    response.headers.update(error.headers or {})
    return response
