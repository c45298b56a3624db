"""How much of a key's limits is used: two buckets that drain over a minute."""

from dataclasses import dataclass
from typing import Protocol

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """A key's limits by the minute; None: none."""

    requests: int | None
    tokens: int | None


@dataclass(slots=True)
class Levels:
    """What is in the buckets of one key."""

    requests: float = 0.0
    tokens: float = 0.0
    at: float = 0.0
    """Monotonic seconds of the figures."""

    def drain(self, limits: Limits, now: float) -> None:
        """Let out what a steady use of the limits would have used since."""
        minutes = max(0.0, now - self.at) / _MINUTE
        self.at = now
        self.requests = max(0.0, self.requests - minutes * (limits.requests or 0))
        self.tokens = max(0.0, self.tokens - minutes * (limits.tokens or 0))


class LevelTable(Protocol):
    """Keeps the levels of every key."""

    def admit(self, key_id: str, limits: Limits, now: float) -> "Admission":
        """Count a request of the key unless a bucket is full; `now` in monotonic seconds."""
        ...

    def charge(self, key_id: str, limits: Limits, tokens: int, now: float) -> None:
        """Count the tokens of a call that has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may go on, and what is left after it."""

    limits: Limits
    requests_used: float
    tokens_used: float
    full: str | None = None
    """The bucket that has no room: `requests` or `tokens`."""

    @property
    def limit(self) -> int:
        """Of the bucket that is full."""
        return (self.limits.requests if self.full == "requests" else self.limits.tokens) or 0

    @property
    def retry_after_seconds(self) -> float:
        """When the bucket that is full has room for one more."""
        used = self.requests_used if self.full == "requests" else self.tokens_used
        return (used + 1 - self.limit) * _MINUTE / self.limit


def admit(levels: Levels, limits: Limits, now: float) -> Admission:
    """Bring `levels` to `now` and count one request, if there is room for it."""
    levels.drain(limits, now)
    full = None
    if limits.requests is not None and levels.requests + 1 > limits.requests:
        full = "requests"
    elif limits.tokens is not None and levels.tokens >= limits.tokens:
        full = "tokens"
    else:
        levels.requests += 1
    return Admission(limits, levels.requests, levels.tokens, full)


def charge(levels: Levels, limits: Limits, tokens: int, now: float) -> None:
    """Bring `levels` to `now` and count `tokens`, over the limit where they are more."""
    levels.drain(limits, now)
    levels.tokens += tokens


class LocalLevels:
    """The levels of a gateway that is one process."""

    def __init__(self) -> None:
        self._levels: dict[str, Levels] = {}

    def admit(self, key_id: str, limits: Limits, now: float) -> Admission:
        return admit(self._of(key_id), limits, now)

    def charge(self, key_id: str, limits: Limits, tokens: int, now: float) -> None:
        charge(self._of(key_id), limits, tokens, now)

    def _of(self, key_id: str) -> Levels:
        levels = self._levels.get(key_id)
        if levels is None:
            levels = self._levels[key_id] = Levels()
        return levels
