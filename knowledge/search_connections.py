"""Connections that a search runs its statements over, with their limits and settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import sql

from knowledge.database_pool import DATABASE_ERRORS, ConnectionSource
from knowledge.ports import SearchUnavailable

DEFAULT_TIMEOUT_SECONDS = 2.0

SearchConnection = psycopg.AsyncConnection[Any]

_SETTINGS = {
    # Compiling a statement takes longer than running it does here.
    "jit": "off",
    # A plan without the parameters' values knows neither a filter's selectivity nor that a
    # tsquery is constant.
    "plan_cache_mode": "force_custom_plan",
}
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class SearchConnections:
    """Opens transactions for a search's statements. All failures are `SearchUnavailable`.

    The connections are the driver's own: a statement costs 0.1 ms of processor time over it,
    0.3 ms and the making of the expression over SQLAlchemy, and only the driver returns results in
    binary. A search runs up to ten statements within 20 ms.
    """

    def __init__(
        self, source: ConnectionSource, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """
        Args:
            source: of a migrated database. Stays the caller's to close.
            timeout_seconds: limit of each statement, kept by the server.
        """
        self._source = source
        limit = f"{max(1, round(timeout_seconds * 1000))}ms"
        self._settings = {**_SETTINGS, "statement_timeout": limit}

    @asynccontextmanager
    async def open(
        self, what: str, settings: Mapping[str, str] = _NO_SETTINGS
    ) -> AsyncIterator[SearchConnection]:
        """Yield a connection with a transaction that is rolled back at the end.

        Args:
            what: what is done there, for the error's text: "full-text search".
            settings: PostgreSQL's, for this transaction.

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, took longer
                than the limit, or refused a statement.
        """
        try:
            async with self._source.connection() as connection:
                # In a pipeline BEGIN and the settings are one round trip.
                async with connection.pipeline():
                    await connection.execute(_set_locally({**self._settings, **settings}))
                yield connection
        except DATABASE_ERRORS as error:
            raise SearchUnavailable(f"{what} failed: {_reason(error)}") from error


def _set_locally(settings: Mapping[str, str]) -> sql.Composed:
    calls = [
        sql.SQL("set_config({}, {}, true)").format(name, value) for name, value in settings.items()
    ]
    return sql.SQL("SELECT ") + sql.SQL(", ").join(calls)


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
