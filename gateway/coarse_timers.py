"""Timers for what seldom happens: cheap to start and to stop, and up to a tick late.

A request starts several that are stopped milliseconds later. asyncio's own each take a handle in
the event loop's heap; together they were a request's twentieth part.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

TICK_SECONDS = 0.02


class CoarseTimer:
    """Calls `callback` once, at `due` or a tick later, in the time of the running event loop."""

    __slots__ = ("_callback", "_slot")

    def __init__(self, due: float, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback
        self._slot = _running_wheel().slot(due)
        self._slot[self] = None

    def cancel(self) -> None:
        """Do not call any more; too late is no error."""
        slot = self._slot
        if slot.pop(self, self) is None and not slot:
            # Most timers are cancelled long before they are due: what held them would wait there.
            slot.wheel.drop(slot)
        # Whoever holds the timer is often whom it calls: a cycle, left for the collector.
        self._callback = None

    def run(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class TimeLimit:
    """A context manager that is left with TimeoutError if it is not left before `due`.

    It works as `asyncio.timeout_at` does, by cancelling the task that entered it.
    """

    __slots__ = ("_cancelling", "_due", "_is_over", "_task", "_timer")

    def __init__(self, due: float) -> None:
        self._due = due
        self._is_over = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = CoarseTimer(self._due, self._expire)
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if (
            self._is_over
            and self._task.uncancel() <= self._cancelling
            and exception_type is not None
            and issubclass(exception_type, asyncio.CancelledError)
        ):
            raise TimeoutError from exception

    def _expire(self) -> None:
        self._is_over = True
        self._task.cancel()


class _Slot(dict[CoarseTimer, None]):
    """The timers of one tick."""

    __slots__ = ("tick", "wheel")

    def __init__(self, wheel: "_Wheel", tick: int) -> None:
        super().__init__()
        self.wheel = wheel
        self.tick = tick


class _Wheel:
    """The timers of one event loop, by the tick in which they are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, _Slot] = {}
        self._next_tick = int(loop.time() / TICK_SECONDS) + 1
        loop.call_later(TICK_SECONDS, self._turn)

    def slot(self, due: float) -> _Slot:
        """Return the timers of the first tick that is not before `due`."""
        tick = max(int(due / TICK_SECONDS) + 1, self._next_tick)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = _Slot(self, tick)
        return slot

    def drop(self, slot: _Slot) -> None:
        """Forget an empty slot."""
        if self._slots.get(slot.tick) is slot:
            del self._slots[slot.tick]

    def _turn(self) -> None:
        due: list[_Slot] = []
        now = int(self._loop.time() / TICK_SECONDS)
        while self._next_tick <= now:
            slot = self._slots.pop(self._next_tick, None)
            if slot:
                due.append(slot)
            self._next_tick += 1
        if self._slots:
            self._loop.call_later(TICK_SECONDS, self._turn)
        else:
            del _wheels[self._loop]
        for slot in due:
            while slot:
                slot.popitem()[0].run()


_wheels: dict[asyncio.AbstractEventLoop, _Wheel] = {}


def _running_wheel() -> _Wheel:
    loop = asyncio.get_running_loop()
    wheel = _wheels.get(loop)
    if wheel is None:
        wheel = _wheels[loop] = _Wheel(loop)
    return wheel
