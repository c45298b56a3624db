"""Takes a backend that fails out of use, and lets it prove that it works again."""

from typing import Literal

import structlog

from contracts.settings import RoutingSettings

BreakerState = Literal["closed", "half_open", "open"]

_log = structlog.get_logger("gateway.backends")


class CircuitBreaker:
    """Closed: in use. Open: not. Half-open: one request is on trial, and decides.

    A trial that ends without a verdict, as one does that its client gave up, costs only time:
    the next one is due as long after it as after a failure.
    """

    def __init__(self, backend: str, settings: RoutingSettings) -> None:
        self.state: BreakerState = "closed"
        self._backend = backend
        self._failures_allowed = settings.breaker_failures
        self._seconds = settings.breaker_seconds
        self._failures = 0
        self._trial_due = 0.0

    @property
    def is_closed(self) -> bool:
        return self.state == "closed"

    def admits(self, now: float) -> bool:
        """Return whether a request may go to the backend; `now` in monotonic seconds."""
        return self.state == "closed" or now >= self._trial_due

    def seconds_until_trial(self, now: float) -> float:
        return max(0.0, self._trial_due - now)

    def begin(self, now: float) -> None:
        """Note that a request goes out: the trial, where one was due."""
        if self.state != "closed":
            self._trial_due = now + self._seconds
            self._change("half_open")

    def pass_trial(self) -> None:
        """Note that an answer has begun, which is enough for a trial."""
        if self.state != "closed":
            self.succeed()

    def succeed(self) -> None:
        """Note that an answer came to its end: failures count anew."""
        self._failures = 0
        self._change("closed")

    def fail(self, now: float) -> None:
        """Note that the backend could not be used."""
        self._failures += 1
        if self.state != "closed" or self._failures >= self._failures_allowed:
            self._trial_due = now + self._seconds
            self._change("open")

    def allow_trial(self) -> None:
        """Let the next request be the trial: there is a sign that the backend is back."""
        self._trial_due = 0.0

    def _change(self, state: BreakerState) -> None:
        before, self.state = self.state, state
        # A trial that fails is no change: one goes out again and again while a backend is away.
        if before == "closed" and state == "open":
            _log.warning(
                "backend out of use", backend=self._backend, failures_in_a_row=self._failures
            )
        elif before != "closed" and state == "closed":
            _log.info("backend in use again", backend=self._backend)
