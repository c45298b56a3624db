"""Whatever happens in whatever order: no place too many, none lost, nobody forgotten."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.backends.slots import QueueTimeout, Slots, Waiter

LIMITS = (1, 2)
ACTIONS = ("enter", "end", "leave", "expire", "breathe")


class Backends:
    """Two backends' places, and the requests that have one or wait for one at both."""

    def __init__(self) -> None:
        self.slots = [Slots(limit, 100) for limit in LIMITS]
        self.held: list[Slots] = []
        self.waiting: list[tuple[Waiter, asyncio.Task[Slots]]] = []

    def enter(self, _which: int) -> None:
        for slots in self.slots:
            if slots.take():
                self.held.append(slots)
                return
        waiter = Waiter(self.slots)
        self.waiting.append((waiter, asyncio.create_task(waiter.wait(60))))

    def end(self, which: int) -> None:
        if self.held:
            self.held.pop(which % len(self.held)).release()

    def leave(self, which: int) -> None:
        if self.waiting:
            self.waiting[which % len(self.waiting)][1].cancel()

    def expire(self, which: int) -> None:
        if self.waiting:
            self.waiting[which % len(self.waiting)][0]._expire()

    async def breathe(self) -> None:
        """Let tasks run, and see which of those that waited have a place now."""
        for _ in range(3):
            await asyncio.sleep(0)
        for each in list(self.waiting):
            task = each[1]
            if task.done():
                self.waiting.remove(each)
                if not task.cancelled() and not isinstance(task.exception(), QueueTimeout):
                    self.held.append(task.result())

    def check(self) -> None:
        for slots, limit in zip(self.slots, LIMITS, strict=True):
            assert 0 <= slots.in_flight <= limit
            # A free place beside a queue is a request forgotten.
            assert not slots.waiting or slots.in_flight == limit


@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_places_are_neither_lost_nor_given_twice(actions: list[tuple[str, int]]) -> None:
    async def play() -> None:
        backends = Backends()
        for _ in range(6):
            backends.enter(0)
        await asyncio.sleep(0)
        for action, which in actions:
            if action == "breathe":
                await backends.breathe()
            else:
                act: Callable[[int], None] = getattr(backends, action)
                act(which)
                if action == "enter":
                    # A request is in the queue as soon as it waits, never before.
                    await asyncio.sleep(0)
            backends.check()
        await backends.breathe()
        while backends.held:
            backends.end(0)
            await backends.breathe()
        assert not backends.waiting
        assert [slots.in_flight for slots in backends.slots] == [0, 0]
        assert [len(slots.waiting) for slots in backends.slots] == [0, 0]

    asyncio.run(play())
