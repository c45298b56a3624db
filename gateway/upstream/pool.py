"""Connections that are kept for the next request."""

import asyncio
import socket
from functools import partial

from contracts.host_silence import (
    IDLE_SECONDS,
    INTERVAL_SECONDS,
    UNACKNOWLEDGED_SECONDS,
    UNANSWERED_QUESTIONS,
)
from gateway.coarse_timers import TimeLimit
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.errors import ConnectFailed, ConnectTimedOut
from gateway.upstream.origin import Origin, Target
from gateway.upstream.response import UpstreamResponse

_KEPT_SECONDS = 4.0
"""Servers of models close idle connections after 5 s; a request sent at that moment would fail,
so the gateway closes them first."""

_LIVENESS = {
    # Not every system has all of them.
    "TCP_KEEPIDLE": IDLE_SECONDS,
    "TCP_KEEPINTVL": INTERVAL_SECONDS,
    "TCP_KEEPCNT": UNANSWERED_QUESTIONS,
    "TCP_USER_TIMEOUT": UNACKNOWLEDGED_SECONDS * 1000,
}
"""An answer may take minutes to begin, and a host that is gone never says so."""


class UpstreamPool:
    """As many connections to each server as there are requests at a time; those free are kept."""

    def __init__(self) -> None:
        self._free: dict[Origin, list[UpstreamConnection]] = {}
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def request(
        self, target: Target, head: bytes, body: bytes, *, connect_seconds: float
    ) -> UpstreamResponse:
        """Send a request; return its answer once the head has come.

        Args:
            head: the request's, whole.
            connect_seconds: for a connection to be made where none is free.

        Raises:
            ConnectFailed: there is no connection; nothing was sent.
            ConnectionBroken: it ended before the answer began.
        """
        connection = self._take(target.origin)
        if connection is None:
            connection = await self._connect(target.origin, connect_seconds)
        return await connection.exchange(head, body)

    def close(self) -> None:
        """Close what is free; what is in use is closed when its answer has come."""
        self._is_closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        for connections in self._free.values():
            for connection in connections:
                connection.abort()
        self._free.clear()

    def _take(self, origin: Origin) -> UpstreamConnection | None:
        """Take the connection that was used last, which is the least likely to be closed."""
        free = self._free.get(origin)
        if not free:
            return None
        oldest = asyncio.get_running_loop().time() - _KEPT_SECONDS
        while free:
            connection = free.pop()
            if not connection.is_closed:
                if connection.free_since >= oldest:
                    return connection
                connection.abort()
        return None

    async def _connect(self, origin: Origin, seconds: float) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        try:
            with TimeLimit(loop.time() + seconds):
                transport, connection = await loop.create_connection(
                    lambda: UpstreamConnection(partial(self._keep, origin)),
                    origin.host,
                    origin.port,
                    ssl=origin.tls_context,
                )
            _notice_silence(transport.get_extra_info("socket"))
        except TimeoutError as error:
            raise ConnectTimedOut from error
        except OSError as error:
            raise ConnectFailed(error.strerror or str(error) or "connection failed") from error
        return connection

    def _keep(self, origin: Origin, connection: UpstreamConnection) -> None:
        if self._is_closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.free_since = loop.time()
        free = self._free.get(origin)
        if free is None:
            free = self._free[origin] = []
        free.append(connection)
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(_KEPT_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        """Close what has been free for too long, and look again as long as there is any."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEPT_SECONDS
        for origin, connections in list(self._free.items()):
            kept = []
            for connection in connections:
                if connection.is_closed:
                    continue
                if connection.free_since >= oldest:
                    kept.append(connection)
                else:
                    connection.abort()
            if kept:
                self._free[origin] = kept
            else:
                del self._free[origin]
        self._sweep_timer = loop.call_later(_KEPT_SECONDS / 2, self._sweep) if self._free else None


def _notice_silence(connected: socket.socket) -> None:
    """Let a connection end soon after the last sign of the server's host."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _LIVENESS.items():
        if (option := getattr(socket, name, None)) is not None:
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
