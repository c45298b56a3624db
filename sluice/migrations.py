"""Applies the Alembic migrations of `contracts/migrations`."""

import time
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import text

import contracts.migrations

_LOCK = 0x51C1CE
"""Advisory lock, so that two starts at once do not migrate at once."""


def migrate(sqlalchemy_url: str, *, revision: str = "head") -> float:
    """Bring the database to `revision`; return the seconds it took.

    Raises:
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    started = time.monotonic()
    engine = sqlalchemy.create_engine(sqlalchemy_url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(_config(connection), revision)
    return time.monotonic() - started


def _config(connection: sqlalchemy.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(contracts.migrations.__file__).parent))
    config.attributes["connection"] = connection
    return config
