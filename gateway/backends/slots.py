"""How many requests a backend works on at once, and who waits for one of them to end."""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

from contracts.settings import BackendSettings

_SMOOTHING = 0.2


class QueueTimeout(Exception):
    """No place became free in time."""


class Slots:
    """The places of one backend: those taken are counted, and limited where there is a limit."""

    def __init__(self, limit: int | None, max_queued: int) -> None:
        self.in_flight = 0
        self.waiting: dict[Waiter, None] = {}
        """In the order of arrival."""
        self._limit = limit
        self._max_queued = max_queued
        self._mean_interval = 1.0
        """Seconds from one end of a request to the next while others wait."""
        self._last_release = 0.0

    @classmethod
    def of_settings(cls, settings: BackendSettings) -> "Slots":
        """Return the places that a backend's settings give it."""
        return cls(settings.max_concurrency, settings.max_queued)

    @property
    def has_room(self) -> bool:
        """Whether a place is free for the taking."""
        return self._limit is None or (self.in_flight < self._limit and not self.waiting)

    @property
    def has_queue_room(self) -> bool:
        return len(self.waiting) < self._max_queued

    def take(self) -> bool:
        """Take a place if one is free."""
        if not self.has_room:
            return False
        self.in_flight += 1
        return True

    def release(self) -> None:
        """Give a place back, to the first who waits for one."""
        if not self._hand_over():
            self.in_flight -= 1

    def _hand_over(self) -> bool:
        """Give a place that is taken to the first who waits; False where nobody does."""
        if self.waiting:
            self._note_interval()
            while self.waiting:
                if next(iter(self.waiting)).grant(self):
                    return True
        return False

    def change_limit(self, limit: int | None, max_queued: int) -> None:
        """Go on under another limit; nobody who has a place or waits loses it."""
        self._limit = limit
        self._max_queued = max_queued
        while self.waiting and (limit is None or self.in_flight < limit):
            if next(iter(self.waiting)).grant(self):
                self.in_flight += 1

    def estimate_wait(self) -> float:
        """Return after how many seconds one who comes last would get a place."""
        return (len(self.waiting) + 1) * self._mean_interval

    def _note_interval(self) -> None:
        now = monotonic()
        if self._last_release and len(self.waiting) > 1:
            interval = min(now - self._last_release, 60.0)
            self._mean_interval += _SMOOTHING * (interval - self._mean_interval)
        self._last_release = now


MakeSlots = Callable[[BackendSettings], Slots]


class Waiter:
    """One request that takes the first place to become free at any of several backends."""

    def __init__(self, queues: Iterable[Slots]) -> None:
        self._granted: asyncio.Future[Slots] = asyncio.get_running_loop().create_future()
        self._queues = list(queues)
        for queue in self._queues:
            queue.waiting[self] = None

    async def wait(self, timeout_seconds: float) -> Slots:
        """Return whose place was taken. The places in the queues are given up at the end.

        Raises:
            QueueTimeout: it took too long.
        """
        timer = asyncio.get_running_loop().call_later(timeout_seconds, self._expire)
        try:
            return await self._granted
        except asyncio.CancelledError:
            if (slots := self._place()) is not None:
                # It was granted in the same moment: on to the next.
                slots.release()
            raise
        finally:
            timer.cancel()
            self._leave()

    def grant(self, slots: Slots) -> bool:
        """Have the place; return False where nobody waits any more."""
        self._leave()
        if self._granted.done():
            return False
        self._granted.set_result(slots)
        return True

    def _place(self) -> Slots | None:
        granted = self._granted
        if not granted.done() or granted.cancelled() or granted.exception() is not None:
            return None
        return granted.result()

    def _expire(self) -> None:
        self._leave()
        if not self._granted.done():
            self._granted.set_exception(QueueTimeout())

    def _leave(self) -> None:
        for queue in self._queues:
            queue.waiting.pop(self, None)
