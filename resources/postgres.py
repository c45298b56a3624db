"""The Dagster resource for the platform's PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import sqlalchemy
from dagster import ConfigurableResource
from pydantic import Field
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from contracts.settings import load_settings, with_psycopg

_LOCK_NOT_AVAILABLE = "55P03"


class LockIsHeld(Exception):
    """Another process held a lock for longer than was waited for."""


class PostgresResource(ConfigurableResource):  # type: ignore[type-arg]
    """One connection per run: a run is one process, so a pool would only hold slots."""

    url: str | None = Field(
        default=None,
        description="libpq URL. Default: the platform's settings, credentials included.",
    )
    connect_timeout_seconds: int = Field(default=5, ge=1)

    @property
    def libpq_url(self) -> str:
        """The database's URL for libpq, password included."""
        return self.url or load_settings().database_url

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL for SQLAlchemy, blocking or asynchronous, password included."""
        return with_psycopg(self.libpq_url)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        """Open a connection; the caller begins and ends transactions.

        Raises:
            sqlalchemy.exc.OperationalError: the server cannot be reached.
        """
        with _engine(self.sqlalchemy_url, self.connect_timeout_seconds).connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[sqlalchemy.Connection]:
        """Open a connection and a transaction: committed at the block's end, or rolled back.

        Raises:
            sqlalchemy.exc.OperationalError: the server cannot be reached.
        """
        with self.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def hold_lock(self, name: str, *, seconds: float) -> Iterator[sqlalchemy.Connection]:
        """Hold an advisory lock for as long as the yielded connection lives.

        Each statement on the connection is a transaction of its own.

        Raises:
            LockIsHeld: another process held it, for `seconds`.
            sqlalchemy.exc.OperationalError: the server cannot be reached.
        """
        with self.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text(f"SET lock_timeout = {int(seconds * 1000):d}"))
            try:
                connection.execute(select(func.pg_advisory_lock(func.hashtextextended(name, 0))))
            except OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise LockIsHeld(f"{name}: held by another for {seconds:.0f} s") from error
            yield connection


@cache
def _engine(url: str, connect_timeout_seconds: int) -> sqlalchemy.Engine:
    """Return one engine for all: a new one asks the server for its version and settings first."""
    return sqlalchemy.create_engine(
        url,
        poolclass=sqlalchemy.NullPool,
        connect_args={
            "connect_timeout": connect_timeout_seconds,
            "application_name": "sluice-dagster",
        },
    )
