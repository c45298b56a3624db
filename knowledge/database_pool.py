"""PostgreSQL connections for an event loop, kept for the next who needs one."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from contracts.server_news import has_news

Connection = psycopg.AsyncConnection[Any]

SessionSettings = tuple[tuple[str, str], ...]
"""Names and values of PostgreSQL's settings."""

DATABASE_ERRORS = (psycopg.Error, OSError)
"""What the database's absence or refusal raises."""

_KEPT = 16
"""Connections that are kept for each purpose; a search takes several at a time."""
_MOST = 26
_CONNECT_SECONDS = 2


class ConnectionSource(Protocol):
    """Who hands out connections of the driver to read with."""

    def reading(self, settings: SessionSettings) -> AbstractAsyncContextManager[Connection]:
        """Yield a connection on which `settings` are in force, for statements that only read.

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
        self._free: defaultdict[SessionSettings | None, list[Connection]] = defaultdict(list)
        """By the settings of those that read; None: what transactions are run on."""
        self._places = asyncio.Semaphore(_MOST)
        self._is_closed = False

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Yield a connection. What is not committed is rolled back at the end.

        Raises:
            psycopg.Error, OSError: the database cannot be reached.
        """
        return self._lend(None)

    def reading(self, settings: SessionSettings) -> AbstractAsyncContextManager[Connection]:
        """Yield a connection to read with; see `ConnectionSource`.

        It has its settings for good and no transaction around its statements: with settings of a
        transaction each search would send more statements than it has.
        """
        return self._lend(settings)

    @asynccontextmanager
    async def _lend(self, settings: SessionSettings | None) -> AsyncIterator[Connection]:
        async with self._places:
            connection = await self._open(settings)
            try:
                yield connection
            finally:
                await self._give_back(connection, settings)

    async def close(self) -> None:
        """Close what is kept; what is in use is closed when it is given back."""
        self._is_closed = True
        for free in self._free.values():
            while free:
                await free.pop().close()

    async def _open(self, settings: SessionSettings | None) -> Connection:
        free = self._free[settings]
        while free:
            connection = free.pop()
            if await _is_alive(connection):
                return connection
        connection = await psycopg.AsyncConnection.connect(
            self._url, connect_timeout=_CONNECT_SECONDS, autocommit=settings is not None
        )
        if settings:
            try:
                await connection.execute(apply_settings(settings, is_local=False))
            except BaseException:
                await connection.close()
                raise
        return connection

    async def _give_back(self, connection: Connection, settings: SessionSettings | None) -> None:
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
        free = self._free[settings]
        if is_clean and not self._is_closed and len(free) < _KEPT:
            free.append(connection)
        else:
            await connection.close()


def apply_settings(settings: SessionSettings, *, is_local: bool) -> sql.Composed:
    """Return a statement that puts `settings` in force, for a transaction where they are local."""
    calls = [
        sql.SQL("set_config({}, {}, {})").format(name, value, is_local) for name, value in settings
    ]
    return sql.SQL("SELECT ") + sql.SQL(", ").join(calls)


async def _is_alive(connection: Connection) -> bool:
    if not connection.closed and not has_news(connection.fileno()):
        return True
    had_autocommit = connection.autocommit
    try:
        # In a transaction it would take a round trip to begin it and another to end it.
        await connection.set_autocommit(True)
        await connection.execute("")
        await connection.set_autocommit(had_autocommit)
    except DATABASE_ERRORS:
        await connection.close()
        return False
    except BaseException:
        await connection.close()
        raise
    return True
