"""Cancels the work for a client that went away."""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive

from gateway.coarse_timers import CoarseTimer

_PATIENCE_SECONDS = 0.03


class ClientDisconnected(Exception):
    """The client closed the connection before its answer was complete."""


class DisconnectWatch:
    """An async context manager that is left with `ClientDisconnected` when the client goes.

    The body of the request must have been read, and the last byte of the answer must be sent
    outside: to a server, a complete answer and a gone client look the same. The listening
    task starts only after a moment, since most answers that take no longer need none.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_disconnected = False
        self._watched: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._start_timer: CoarseTimer | None = None

    async def __aenter__(self) -> Self:
        self._watched = asyncio.current_task()
        due = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        self._start_timer = CoarseTimer(due, self._start)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # They refer to this object, as the cancelled task's traceback does: all that a request
        # had in memory would wait for the collector of cycles.
        timer, self._start_timer = self._start_timer, None
        watcher, self._watcher = self._watcher, None
        watched, self._watched = self._watched, None
        if timer is not None:
            timer.cancel()
        if watcher is None:
            return
        watcher.cancel()
        if not self._has_disconnected or watched is None:
            return
        if exception is None:
            # The cancellation is on its way and strikes at the next suspension: here.
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                exception_type = asyncio.CancelledError
        if watched.uncancel() == 0 and (
            exception_type is None or issubclass(exception_type, asyncio.CancelledError)
        ):
            raise ClientDisconnected from None

    def _start(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name="disconnect-watch")

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._has_disconnected = True
        if self._watched is not None:
            self._watched.cancel()
