"""Moments for tests that look back in time."""

import time
from datetime import UTC, datetime


def pass_a_second() -> datetime:
    """Return a whole second that lies between what was before and what comes after."""
    moment = int(time.time()) + 1
    while time.time() < moment + 0.01:
        time.sleep(0.02)
    return datetime.fromtimestamp(moment, UTC)
