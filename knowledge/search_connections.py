"""Connections that a search runs its statements over, with their limits and settings."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from knowledge.ports import SearchUnavailable

DEFAULT_TIMEOUT_SECONDS = 2.0

_SETTINGS = {
    # Compiling a statement takes longer than running it does here.
    "jit": "off",
    # A plan without the parameters' values knows neither a filter's selectivity nor that a
    # tsquery is constant.
    "plan_cache_mode": "force_custom_plan",
}
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class SearchConnections:
    """Opens transactions for a search's statements. All failures are `SearchUnavailable`."""

    def __init__(
        self, engine: AsyncEngine, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """
        Args:
            engine: of a migrated database, driver psycopg. Stays the caller's to dispose of.
            timeout_seconds: limit of each statement, kept by the server.
        """
        self._engine = engine
        self._timeout_milliseconds = max(1, round(timeout_seconds * 1000))

    @asynccontextmanager
    async def open(
        self, what: str, settings: Mapping[str, str] = _NO_SETTINGS
    ) -> AsyncIterator[AsyncConnection]:
        """Yield a connection with a transaction that is rolled back at the end.

        Args:
            what: what is done there, for the error's text: "full-text search".
            settings: PostgreSQL's, for this transaction.

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, took longer
                than the limit, or refused a statement.
        """
        limits = {"statement_timeout": f"{self._timeout_milliseconds}ms"}
        values = {**_SETTINGS, **limits, **settings}
        try:
            async with self._engine.connect() as connection:
                await connection.execute(
                    select(*(func.set_config(name, value, True) for name, value in values.items()))
                )
                yield connection
        except (SQLAlchemyError, psycopg.Error, OSError) as error:
            raise SearchUnavailable(f"{what} failed: {_reason(error)}") from error


def _reason(error: SQLAlchemyError | psycopg.Error | OSError) -> str:
    # SQLAlchemy's own text of a driver's error repeats the whole statement.
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip() or type(cause).__name__
