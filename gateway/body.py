"""Reads a request's body within the limits."""

import re
from itertools import accumulate

from starlette.types import Receive

from gateway.disconnect import ClientDisconnected
from gateway.errors import BodyTooLarge, InvalidRequest

MAX_JSON_DEPTH = 128
"""Objects and arrays within one another. What decodes them knows a larger bound, in C."""

# A text without an end reaches to the end of the body: a search for its end from each quotation
# mark in it would take quadratic time.
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, bytes([1, 255, 1, 255]))
"""An opening bracket to 1, a closing one to -1, as a signed byte."""


class NestedTooDeeply(InvalidRequest):
    """400: the JSON has more levels than the gateway takes."""

    def __init__(self) -> None:
        super().__init__(
            f"The request body is nested more than {MAX_JSON_DEPTH} levels deep.",
            code="json_too_deep",
        )


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, limit: int) -> bytes:
    """Return the whole body, at most `limit` bytes, with or without a Content-Length.

    Raises:
        BodyTooLarge: it is longer, by its Content-Length or by what came.
        InvalidRequest: Content-Length is no number.
        NestedTooDeeply: the body has too many levels, were it JSON.
        ClientDisconnected: the client went away before it was complete.
    """
    announced = headers.get(b"content-length")
    if announced is not None:
        if not announced.isdigit():
            raise InvalidRequest("Content-Length is not a number.", param="Content-Length")
        if int(announced) > limit:
            raise BodyTooLarge(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLarge(limit)
        parts.append(part)
        if not message.get("more_body", False):
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            # Most bodies have too few brackets to be deep.
            if body.count(b"[") + body.count(b"{") > MAX_JSON_DEPTH:
                _require_shallow(body)
            return body


def _require_shallow(body: bytes) -> None:
    steps = memoryview(_TEXT.sub(b"", body).translate(_STEPS, _NO_BRACKETS)).cast("b")
    if max(accumulate(steps), default=0) > MAX_JSON_DEPTH:
        raise NestedTooDeeply
