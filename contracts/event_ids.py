"""UUIDv7 identifiers and the moment they carry (RFC 9562, section 5.7)."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_event_id() -> tuple[str, datetime]:
    """Return a UUIDv7 and the UTC moment it was made from, at millisecond precision.

    Both come from one reading of the clock, so the day of an event can be told from its ID
    alone: a consumer that moves headers only still knows which partition an event belongs to.
    """
    nanoseconds = time.time_ns()
    event_id = uuid_utils.uuid7(nanoseconds=nanoseconds)
    return str(event_id), datetime.fromtimestamp(nanoseconds // 1_000_000 / 1000, UTC)


def moment_of(event_id: str) -> datetime | None:
    """Return the UTC moment inside a UUIDv7, or None if `event_id` is no UUIDv7."""
    try:
        parsed = UUID(event_id)
    except ValueError:
        return None
    if parsed.version != 7:
        return None
    return _EPOCH + timedelta(milliseconds=parsed.int >> 80)
