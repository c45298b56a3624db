"""Reads requests' bodies and the JSON in them, within limits."""

import json
from typing import TypeVar

import msgspec
from starlette.types import Receive, Scope

from encoder.disconnect import ClientDisconnected
from encoder.errors import InvalidRequest, TooLarge

MAX_BODY_BYTES = 32 * 1024 * 1024

T = TypeVar("T")


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body, with or without a Content-Length.

    Raises:
        TooLarge: it is over `MAX_BODY_BYTES`, by its Content-Length or by what came.
        ClientDisconnected: the client went away before it was complete.
    """
    announced = dict(scope["headers"]).get(b"content-length", b"")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def decode_body(body: bytes, body_type: type[T]) -> T:
    """Return the JSON of `body` as a `body_type`.

    Raises:
        InvalidRequest: it is no JSON, or not of that type; the message says where.
    """
    try:
        return msgspec.json.decode(body, type=body_type)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".") or None
        raise InvalidRequest(f"{reason} (at {field or 'the top'}).", param=field) from error
    except ValueError as error:
        # Not msgspec's DecodeError alone: bytes that are no UTF-8 are a UnicodeDecodeError.
        reason = "a string holds an unpaired surrogate, which stands for no character"
        if not _has_unpaired_surrogate(body):
            reason = str(error)
        raise InvalidRequest(f"The body is not valid JSON: {reason}.") from error


def _has_unpaired_surrogate(body: bytes) -> bool:
    """Whether that is all that keeps `body` from being JSON; Python's own decoder lets it pass."""
    try:
        json.loads(body)
    except ValueError:
        return False
    return b"\\u" in body


def _too_large() -> TooLarge:
    return TooLarge(f"The request body is larger than the {MAX_BODY_BYTES} bytes allowed.")
