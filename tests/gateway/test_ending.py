"""Background tasks end, even where a cancellation is lost."""

import asyncio

from gateway.ending import end_tasks


async def test_a_task_that_drops_a_cancellation_is_cancelled_again() -> None:
    dropped = 0

    async def drop_two() -> None:
        nonlocal dropped
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if dropped == 2:
                    raise
                dropped += 1

    task = asyncio.create_task(drop_two())
    await asyncio.sleep(0)

    await asyncio.wait_for(end_tasks([task]), 10)

    assert dropped == 2
    assert task.cancelled()


async def test_a_task_that_failed_is_no_failure_of_the_ending() -> None:
    async def fail() -> None:
        raise OSError("gone")

    await end_tasks([asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(60))])


async def test_no_tasks_are_ended_at_once() -> None:
    await end_tasks([])
