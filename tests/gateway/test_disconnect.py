"""The watch for clients that go away."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from starlette.types import Message

from gateway.disconnect import ClientDisconnected, DisconnectWatch


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def _stay() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def _leave() -> Message:
    await asyncio.sleep(0.01)
    return {"type": "http.disconnect"}


@pytest.mark.usefixtures("_without_collector")
@pytest.mark.parametrize("seconds", [0.0, 0.2])
async def test_nothing_of_a_request_waits_for_the_collector_of_cycles(seconds: float) -> None:
    watch = DisconnectWatch(_stay)
    async with watch:
        await asyncio.sleep(seconds)
    left = weakref.ref(watch)
    del watch

    # The cancelled listener has to end, and its timer's slot to come up.
    async with asyncio.timeout(10):
        while left() is not None:
            await asyncio.sleep(0.01)


async def test_the_work_for_a_client_that_left_is_cancelled() -> None:
    with pytest.raises(ClientDisconnected):
        async with asyncio.timeout(10), DisconnectWatch(_leave):
            await asyncio.Event().wait()
