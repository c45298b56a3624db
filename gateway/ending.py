"""Ends background tasks for certain."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_SECONDS = 0.2


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel `tasks` until they have ended, however they end.

    One cancellation may not be enough: `asyncio.wait_for` of Python 3.11 drops one that comes at
    the moment in which what it waits for fails (https://github.com/python/cpython/issues/86296),
    and nats-py connects by it.
    """
    all_tasks = set(tasks)
    pending = all_tasks
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*all_tasks, return_exceptions=True)
