"""Writes events of the Responses protocol as server-sent events."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.responses.output_items import Event

_encode = msgspec.json.Encoder().encode


class EventEncoder:
    """Numbers the events of one stream, from 0."""

    def __init__(self) -> None:
        self._numbers = count()

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events' bytes."""
        return b"".join([write_event(kind, fields, next(self._numbers)) for kind, fields in events])


def write_event(kind: str, fields: Mapping[str, Any], sequence_number: int) -> bytes:
    """Return one event; `event:` repeats its type for clients that dispatch on it."""
    data = _encode({"type": kind, "sequence_number": sequence_number, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def error_event(error: GatewayError, sequence_number: int) -> bytes:
    """Return the event that ends a stream whose response cannot be told of any more."""
    fields = {"code": error.code, "message": error.message, "param": error.param}
    return write_event("error", fields, sequence_number)
