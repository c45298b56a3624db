"""Reads a request's body within the limit."""

from starlette.types import Receive

from gateway.disconnect import ClientDisconnected
from gateway.errors import BodyTooLarge, InvalidRequest


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, limit: int) -> bytes:
    """Return the whole body, at most `limit` bytes, with or without a Content-Length.

    Raises:
        BodyTooLarge: it is longer, by its Content-Length or by what came.
        InvalidRequest: Content-Length is no number.
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
            return parts[0] if len(parts) == 1 else b"".join(parts)
