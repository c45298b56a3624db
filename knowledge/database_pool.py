"""PostgreSQL connections for an event loop, kept for the next who needs one."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

Connection = psycopg.AsyncConnection[Any]

DATABASE_ERRORS = (psycopg.Error, OSError)
"""What the database's absence or refusal raises."""

_KEPT = 16
"""Connections that are kept; a search takes several at a time."""
_MOST = 26
_CONNECT_SECONDS = 2


class ConnectionSource(Protocol):
    """Who hands out connections of the driver."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Yield a connection. What is not committed is rolled back at the end.

        Raises:
            psycopg.Error, OSError: the database cannot be reached.
        """
        ...


class DatabasePool:
    """Makes connections when they are needed; one that was kept is looked at before it is used.

    The driver's own statements, without SQLAlchemy around them: that takes 27 MiB, which is a
    quarter of a gateway, and twice the processor time of a statement.
    """

    def __init__(self, url: str) -> None:
        """
        Args:
            url: a libpq URL (`postgresql://…`).
        """
        self._url = url
        self._free: list[Connection] = []
        self._places = asyncio.Semaphore(_MOST)
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection. What is not committed is rolled back at the end.

        Raises:
            psycopg.Error, OSError: the database cannot be reached.
        """
        async with self._places:
            connection = await self._open()
            try:
                yield connection
            finally:
                await self._give_back(connection)

    async def close(self) -> None:
        """Close what is kept; what is in use is closed when it is given back."""
        self._is_closed = True
        while self._free:
            await self._free.pop().close()

    async def _open(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if await _is_alive(connection):
                return connection
        return await psycopg.AsyncConnection.connect(self._url, connect_timeout=_CONNECT_SECONDS)

    async def _give_back(self, connection: Connection) -> None:
        status = connection.info.transaction_status
        try:
            if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                await connection.rollback()
        except DATABASE_ERRORS:
            await connection.close()
            return
        except BaseException:
            await connection.close()
            raise
        # Still active where its user was cancelled: nobody knows what it would answer next.
        is_clean = connection.info.transaction_status == TransactionStatus.IDLE
        if is_clean and not self._is_closed and len(self._free) < _KEPT:
            self._free.append(connection)
        else:
            await connection.close()


async def _is_alive(connection: Connection) -> bool:
    if not connection.closed and not _has_news(connection):
        return True
    try:
        # In a transaction it would take a round trip to begin it and another to end it.
        await connection.set_autocommit(True)
        await connection.execute("")
        await connection.set_autocommit(False)
    except DATABASE_ERRORS:
        await connection.close()
        return False
    except BaseException:
        await connection.close()
        raise
    return True


def _has_news(connection: Connection) -> bool:
    """Whether the server has sent what nobody asked for, or closed its end as it went away.

    A statement to find that out would be one of four that a search runs.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
