"""The driver's connections out of a pool of SQLAlchemy's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from knowledge.database_pool import Connection, SessionSettings, apply_settings


class EngineConnections:
    """A `ConnectionSource` for code that has an engine for its own statements too."""

    def __init__(self, engine: AsyncEngine) -> None:
        """
        Args:
            engine: driver psycopg. Stays the caller's to dispose of.
        """
        self._engine = engine

    @asynccontextmanager
    async def reading(self, settings: SessionSettings) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction that is rolled back; see `ConnectionSource`."""
        try:
            async with self._engine.connect() as pooled:
                connection: Connection | None
                connection = (await pooled.get_raw_connection()).driver_connection
                if connection is None:
                    raise psycopg.InterfaceError("the pool's connection is gone")
                # The connection's next user wants none of them. In a pipeline BEGIN and the
                # settings are one round trip.
                async with connection.pipeline():
                    await connection.execute(apply_settings(settings, is_local=True))
                yield connection
        except SQLAlchemyError as error:
            # SQLAlchemy's own text of a driver's error repeats the whole statement.
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise psycopg.OperationalError(str(cause or error)) from error
