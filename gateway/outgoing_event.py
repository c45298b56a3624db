"""An encoded event between the request that made it and the broker."""

from contracts.headers import CORRELATION_ID
from contracts.subjects import TelemetrySubject
from gateway.spool.segment import Place

_OVERHEAD_BYTES = 512
"""What an event takes besides its body: headers and the objects that hold it."""
_TELEMETRY = frozenset(TelemetrySubject)
_CORRELATION_FIELD = f"\r\n{CORRELATION_ID}: ".encode()


class OutgoingEvent:
    """An encoded event on its way to the broker."""

    __slots__ = (
        "body",
        "headers",
        "is_telemetry",
        "place",
        "sent_at",
        "sequence",
        "shipments",
        "size",
        "subject",
    )

    def __init__(
        self,
        sequence: int,
        subject: str,
        headers: bytes,
        body: bytes,
        place: Place | None = None,
    ) -> None:
        """
        Args:
            sequence: its place in the order of shipment, and the last token of its reply subject.
            headers: a NATS header block.
            place: where it stands in the spool; None: it is in memory alone.
        """
        self.sequence = sequence
        self.subject = subject
        self.headers = headers
        self.body = body
        self.place = place
        self.sent_at = 0.0
        """Monotonic seconds of the last shipment."""
        self.shipments = 0
        """How often it was shipped."""
        self.is_telemetry = subject in _TELEMETRY
        self.size = len(body) + _OVERHEAD_BYTES

    @property
    def correlation_id(self) -> str:
        """For logs; read from the headers."""
        _, _, rest = self.headers.partition(_CORRELATION_FIELD)
        return rest.partition(b"\r\n")[0].decode("ascii")
