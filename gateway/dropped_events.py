"""Events that were lost: counted one by one, logged once a second."""

from collections import Counter
from time import monotonic

import structlog

from gateway.outgoing_event import OutgoingEvent

_LOG_INTERVAL_SECONDS = 1.0

_log = structlog.get_logger("gateway.publisher")


class DroppedEvents:
    """Counts lost events by subject and reason. The counts are exact, the log is bounded."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._unlogged: Counter[tuple[str, str]] = Counter()
        self._next_log = 0.0

    def add(self, event: OutgoingEvent, reason: str) -> None:
        """Count `event`, and say so if nothing was said within the last second."""
        key = (str(event.subject), reason)
        self.counts[key] += 1
        self._unlogged[key] += 1
        if monotonic() >= self._next_log:
            self.log(correlation_id=event.correlation_id)

    def log(self, *, correlation_id: str | None = None) -> None:
        """Log what was lost since the last line."""
        self._next_log = monotonic() + _LOG_INTERVAL_SECONDS
        for (subject, reason), count in self._unlogged.items():
            _log.error(
                "events dropped",
                subject=subject,
                reason=reason,
                count=count,
                last_correlation_id=correlation_id,
            )
        self._unlogged.clear()
