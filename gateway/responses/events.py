"""Writes events of the Responses protocol as server-sent events."""

from collections.abc import Sequence
from itertools import count

import msgspec

from gateway.errors import GatewayError
from gateway.responses.output_items import Event

_encode = msgspec.json.Encoder().encode


class EventEncoder:
    """Numbers the events of one stream, from 0."""

    def __init__(self) -> None:
        self._numbers = count()

    def encode(self, events: Sequence[Event]) -> bytes:
        """Return the events' bytes; `event:` repeats the type for clients that dispatch on it."""
        return b"".join(
            [
                b"event: %b\ndata: %b\n\n"
                % (
                    kind.encode(),
                    _encode({"type": kind, "sequence_number": next(self._numbers), **fields}),
                )
                for kind, fields in events
            ]
        )


def error_event(error: GatewayError, sequence_number: int) -> bytes:
    """Return the event that ends a stream whose response cannot be told of any more."""
    fields = {
        "type": "error",
        "sequence_number": sequence_number,
        "code": error.code,
        "message": error.message,
        "param": error.param,
    }
    return b"event: error\ndata: %b\n\n" % _encode(fields)
