"""Reading `Retry-After`."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from gateway.backends.retry_after import read_retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({b"retry-after": b"7"}, 7),
        ({b"retry-after": b"0.5"}, 0.5),
        ({b"retry-after": b"7", b"retry-after-ms": b"250"}, 0.25),
        ({b"retry-after": b"-7"}, None),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"9" * 400}, None),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    ],
)
def test_seconds(headers: dict[bytes, bytes], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


def test_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=60)
    seconds = read_retry_after({b"retry-after": format_datetime(moment, usegmt=True).encode()})
    assert seconds is not None
    assert 50 < seconds <= 60
