"""Time limits and timers that are a tick late at most, and leave nothing to collect."""

import asyncio
import gc
import weakref

import pytest

from gateway.coarse_timers import CoarseTimer, TimeLimit


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_work_over_its_time_limit_ends_with_a_timeout() -> None:
    with pytest.raises(TimeoutError), TimeLimit(_in(0.05)):
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_limit_that_has_passed_already_strikes_at_the_next_wait() -> None:
    with pytest.raises(TimeoutError), TimeLimit(_in(-1)):
        await asyncio.Event().wait()


async def test_work_within_its_limit_is_left_alone() -> None:
    with TimeLimit(_in(0.05)):
        pass
    fired = asyncio.Event()
    CoarseTimer(_in(0.1), fired.set)
    # Would be cut short if the limit were still on.
    await fired.wait()


async def test_a_cancellation_from_outside_is_no_timeout() -> None:
    began = asyncio.Event()

    async def work() -> None:
        with TimeLimit(_in(60)):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timers_are_called_once_in_their_time_and_not_once_cancelled() -> None:
    called: list[str] = []
    is_over = asyncio.Event()
    cancelled = CoarseTimer(_in(0.03), lambda: called.append("cancelled"))
    CoarseTimer(_in(0.06), lambda: called.append("second"))
    CoarseTimer(_in(0.02), lambda: called.append("first"))
    CoarseTimer(_in(0.15), is_over.set)
    cancelled.cancel()
    await is_over.wait()
    assert called == ["first", "second"]


async def test_a_cancelled_timer_is_no_part_of_a_cycle() -> None:
    class Holder:
        def __init__(self) -> None:
            self.timer = CoarseTimer(_in(60), self.act)

        def act(self) -> None:
            """Never called."""

    gc.disable()
    try:
        holder = Holder()
        reference = weakref.ref(holder)
        holder.timer.cancel()
        del holder
        assert reference() is None
    finally:
        gc.enable()


async def test_cancelled_timers_leave_nothing_behind_until_they_would_have_been_due() -> None:
    for number in range(1000):
        CoarseTimer(_in(60 + number), lambda: None).cancel()
    kept = CoarseTimer(_in(60), lambda: None)
    slots = [each for each in gc.get_objects() if type(each).__name__ == "_Slot"]
    # Those of other tests' loops may not have been collected yet.
    wheel = kept._slot.wheel
    assert len([each for each in slots if each.wheel is wheel]) == 1
    kept.cancel()
