"""Gives up the work for a client that went away."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

R = TypeVar("R")


class ClientDisconnected(Exception):
    """The client closed the connection before it had its answer."""


async def unless_disconnected(work: Coroutine[Any, Any, R], receive: Receive) -> R:
    """Return the result of `work`, which is cancelled when the client goes.

    Args:
        receive: of a request whose body has been read.

    Raises:
        ClientDisconnected: the client went first.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnection(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnected
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
