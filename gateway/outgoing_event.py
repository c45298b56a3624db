"""An encoded event between the request that made it and the broker."""

from dataclasses import dataclass, field

from contracts.headers import CORRELATION_ID
from contracts.subjects import TelemetrySubject
from gateway.spool.segment import Place

_OVERHEAD_BYTES = 512
"""What an event takes besides its body: headers and the objects that hold it."""
_TELEMETRY = frozenset(TelemetrySubject)
_CORRELATION_FIELD = f"\r\n{CORRELATION_ID}: ".encode()


@dataclass(slots=True, eq=False)
class OutgoingEvent:
    """An encoded event on its way to the broker."""

    sequence: int
    """Its place in the order of shipment, and the last token of its reply subject."""
    subject: str
    headers: bytes
    """A NATS header block."""
    body: bytes
    place: Place | None = None
    """Where it stands in the spool; None: it is in memory alone."""
    sent_at: float = 0.0
    """Monotonic seconds of the last shipment."""
    shipments: int = 0
    """How often it was shipped."""

    is_telemetry: bool = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.is_telemetry = self.subject in _TELEMETRY
        self.size = len(self.body) + _OVERHEAD_BYTES

    @property
    def correlation_id(self) -> str:
        """For logs; read from the headers."""
        _, _, rest = self.headers.partition(_CORRELATION_FIELD)
        return rest.partition(b"\r\n")[0].decode("ascii")
