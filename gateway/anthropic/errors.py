"""Anthropic's error envelope (https://platform.claude.com/docs/en/api/errors)."""

import msgspec
from msgspec import Struct

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class _Told(Struct):
    message: str


class _Refusal(Struct):
    error: _Told | str | None = None
    message: str | None = None


_refusal_decoder = msgspec.json.Decoder(_Refusal)


def error_type(status: int) -> str:
    """Return the type that Anthropic gives errors of an HTTP status."""
    if status in _TYPES:
        return _TYPES[status]
    return "api_error" if status >= 500 else "invalid_request_error"


def anthropic_error_body(message: str, status: int, request_id: str) -> bytes:
    """Return the envelope as JSON."""
    error = {"type": error_type(status), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def anthropic_error_event(message: str, status: int, request_id: str) -> bytes:
    """Return the envelope as the event that ends a failed stream."""
    return b"event: error\ndata: %b\n\n" % anthropic_error_body(message, status, request_id)


def refusal_text(body: bytes) -> str:
    """Return what a backend's error answer says: its message where it has one, else all of it."""
    try:
        refusal = _refusal_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
    if isinstance(refusal.error, _Told):
        return refusal.error.message
    return refusal.error or refusal.message or body.decode(errors="replace")
