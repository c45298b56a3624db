"""A backend's places and the queue for them."""

import asyncio

import pytest

from gateway.backends.slots import QueueTimeout, Slots, Waiter


def full(*, limit: int = 1, max_queued: int = 10) -> Slots:
    slots = Slots(limit, max_queued)
    for _ in range(limit):
        assert slots.take()
    return slots


async def queue_up(*queues: Slots, seconds: float = 30.0) -> asyncio.Task[Slots]:
    task = asyncio.create_task(Waiter(queues).wait(seconds))
    await asyncio.sleep(0)
    return task


def test_without_a_limit_there_is_always_room() -> None:
    slots = Slots(None, 0)
    assert all(slots.take() for _ in range(1000))
    assert slots.in_flight == 1000


async def test_a_place_goes_to_who_has_waited_longest() -> None:
    slots = full()
    first, second = await queue_up(slots), await queue_up(slots)
    assert not slots.take()

    slots.release()
    assert await first is slots
    assert not second.done()
    slots.release()
    assert await second is slots
    slots.release()
    assert (slots.in_flight, len(slots.waiting)) == (0, 0)


async def test_nobody_overtakes_the_queue() -> None:
    slots = full()
    waiting = await queue_up(slots)
    slots.release()
    assert not slots.take()
    await waiting


async def test_who_waits_at_two_backends_takes_the_first_place_and_leaves_both_queues() -> None:
    one, two = full(), full()
    waiting = await queue_up(one, two)
    two.release()
    assert (len(one.waiting), len(two.waiting)) == (0, 0)
    assert await waiting is two
    one.release()
    assert (one.in_flight, two.in_flight) == (0, 1)


async def test_one_who_gives_up_is_out_of_the_queue_at_once() -> None:
    slots = full(max_queued=1)
    waiting = await queue_up(slots)
    assert not slots.has_queue_room
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.has_queue_room
    slots.release()
    assert slots.in_flight == 0


async def test_a_place_granted_to_one_who_gives_up_in_that_moment_goes_on() -> None:
    slots = full()
    first, second = await queue_up(slots), await queue_up(slots)
    slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second is slots
    slots.release()
    assert slots.in_flight == 0


async def test_a_place_is_not_lost_on_one_who_was_cancelled_before_it_was_free() -> None:
    slots = full()
    first, second = await queue_up(slots), await queue_up(slots)
    first.cancel()
    slots.release()
    assert await second is slots


async def test_waiting_ends_in_time() -> None:
    slots = full()
    waiting = await queue_up(slots, seconds=0.02)
    with pytest.raises(QueueTimeout):
        await waiting
    assert not slots.waiting


async def test_a_higher_limit_lets_in_those_who_wait() -> None:
    slots = full()
    tasks = [await queue_up(slots) for _ in range(3)]
    slots.change_limit(3, 10)
    assert [task.done() for task in tasks] == [False, False, False]
    await asyncio.gather(*tasks[:2])
    await asyncio.sleep(0)
    assert not tasks[2].done()
    assert slots.in_flight == 3
    slots.release()
    await tasks[2]


async def test_a_lower_limit_takes_nobodys_place() -> None:
    slots = full(limit=3)
    slots.change_limit(1, 10)
    slots.release()
    assert not slots.take()
    slots.release()
    slots.release()
    assert slots.take()


async def test_the_wait_is_estimated_from_how_fast_places_become_free() -> None:
    slots = full()
    tasks = [await queue_up(slots) for _ in range(30)]
    for task in tasks:
        await asyncio.sleep(0.001)
        slots.release()
        await task
    assert 0 < slots.estimate_wait() < 0.5
