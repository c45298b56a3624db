"""The Dagster resource for the platform's PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from dagster import ConfigurableResource
from pydantic import Field

from contracts.settings import load_settings, with_psycopg


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
        engine = sqlalchemy.create_engine(
            self.sqlalchemy_url,
            poolclass=sqlalchemy.NullPool,
            connect_args={
                "connect_timeout": self.connect_timeout_seconds,
                "application_name": "sluice-dagster",
            },
        )
        with engine.connect() as connection:
            yield connection

    @contextmanager
    def begin(self) -> Iterator[sqlalchemy.Connection]:
        """Open a connection and a transaction: committed at the block's end, or rolled back.

        Raises:
            sqlalchemy.exc.OperationalError: the server cannot be reached.
        """
        with self.connect() as connection, connection.begin():
            yield connection
