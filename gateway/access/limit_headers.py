"""What is left of a key's limits, as the headers of each API tell it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from gateway.access.rate_limits import Admission
from gateway.errors import Header

LimitHeaders = Callable[[Admission], list[Header]]


def openai_limit_headers(admission: Admission) -> list[Header]:
    """Return `x-ratelimit-*`: limit, remaining, time until the bucket is whole.

    https://platform.openai.com/docs/guides/rate-limits
    """
    headers: list[Header] = []
    for name, limit, remaining, reset_seconds in _buckets(admission):
        reset = f"{reset_seconds:.3f}s"
        headers.append((b"x-ratelimit-limit-" + name, str(limit).encode()))
        headers.append((b"x-ratelimit-remaining-" + name, str(remaining).encode()))
        headers.append((b"x-ratelimit-reset-" + name, reset.encode()))
    return headers


def anthropic_limit_headers(admission: Admission) -> list[Header]:
    """Return `anthropic-ratelimit-*`: limit, remaining, when the bucket is whole (RFC 3339).

    https://platform.claude.com/docs/en/api/rate-limits
    """
    now = datetime.now(UTC)
    headers: list[Header] = []
    for name, limit, remaining, reset_seconds in _buckets(admission):
        reset = (now + timedelta(seconds=reset_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        prefix = b"anthropic-ratelimit-" + name
        headers.append((prefix + b"-limit", str(limit).encode()))
        headers.append((prefix + b"-remaining", str(remaining).encode()))
        headers.append((prefix + b"-reset", reset.encode()))
    return headers


def _buckets(admission: Admission) -> Iterator[tuple[bytes, int, int, float]]:
    """Yield the name, the limit, what remains and the seconds until all of it remains."""
    for name, limit, used in (
        (b"requests", admission.limits.requests, admission.requests_used),
        (b"tokens", admission.limits.tokens, admission.tokens_used),
    ):
        if limit is not None:
            yield name, limit, max(0, int(limit - used)), used * 60.0 / limit
