"""When a server asks to be asked again."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")


def read_retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds that `Retry-After` (RFC 9110, section 10.2.3) asks for.

    None where it is absent or cannot be read. OpenAI's `retry-after-ms` is more exact and wins.

    Args:
        headers: names in lower case.
    """
    milliseconds = _read_number(headers.get(b"retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get(b"retry-after")
    if value is None:
        return None
    seconds = _read_number(value)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _read_number(value: bytes | None) -> float | None:
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None
