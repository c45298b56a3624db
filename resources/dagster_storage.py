"""Dagster's PostgreSQL storage with its connections kept open.

dagster-postgres opens a connection for every statement, outside the webserver: a server process
and a SCRAM exchange each, dozens of them in a run. Here a process keeps a few for all the
instances that it makes, and looks whether one still lives before it is used, so that a restarted
PostgreSQL is met as before. The webserver's connections, which Dagster keeps, are looked at too.
Looked at, not asked: a statement before each would be every second one of a run.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Self

import sqlalchemy
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import (
    create_pg_engine,
    pg_url_from_config,
    retry_pg_connection_fn,
    set_pg_statement_timeout,
)

from contracts.server_news import has_news

_IDLE_CONNECTIONS = 4
_MORE_AT_A_TIME = 30
"""The daemon and the code server evaluate sensors on threads."""
_OLDEST_SECONDS = 900


class PooledPostgresStorage(DagsterPostgresStorage):
    """`storage` of `dagster.yaml`, with the configuration of `DagsterPostgresStorage`."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        if should_autocreate_tables:
            _ensure_tables(postgres_url)
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        self._run_storage = _RunStorage(postgres_url, should_autocreate_tables=False)
        self._event_log_storage = _EventLogStorage(postgres_url, should_autocreate_tables=False)
        self._schedule_storage = _ScheduleStorage(postgres_url, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = _engine(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


class _LivePoolInWebserver:
    """Replaces dagster-postgres's pool of the webserver, which hands out dead connections."""

    postgres_url: str
    _engine: sqlalchemy.Engine

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """`statement_timeout` in milliseconds, `pool_recycle` in seconds."""
        self._engine = _looking_engine(
            self.postgres_url, pool_size=1, max_overflow=max_overflow, pool_recycle=pool_recycle
        )

        @sqlalchemy.event.listens_for(self._engine, "connect")
        def limit_statements(connection: Any, _record: object) -> None:
            set_pg_statement_timeout(connection, statement_timeout)


class _ScheduleStorage(_LivePoolInWebserver, PostgresScheduleStorage):
    """Differs in its pool alone."""


class _RunStorage(_LivePoolInWebserver, PostgresRunStorage):
    """Looks once in a process for the columns that a migration may have added."""

    def has_run_stats_index_cols(self) -> bool:
        return _look_once(self.postgres_url, "runs.end_time", super().has_run_stats_index_cols)

    def has_backfill_id_column(self) -> bool:
        return _look_once(self.postgres_url, "runs.backfill_id", super().has_backfill_id_column)


class _EventLogStorage(_LivePoolInWebserver, PostgresEventLogStorage):
    """Likewise."""

    def _has_asset_key_col_on_connection(
        self, conn: sqlalchemy.Connection, column_name: str
    ) -> bool:
        look = partial(super()._has_asset_key_col_on_connection, conn, column_name)
        return _look_once(self.postgres_url, f"asset_keys.{column_name}", look)


_found_columns: set[tuple[str, str]] = set()


def _look_once(postgres_url: str, column: str, look: Callable[[], bool]) -> bool:
    """Return what `look` says, until it has said yes: a column that is there stays."""
    key = (postgres_url, column)
    if key not in _found_columns and look():
        _found_columns.add(key)
    return key in _found_columns


@cache
def _engine(postgres_url: str) -> sqlalchemy.Engine:
    return _looking_engine(
        postgres_url,
        pool_size=_IDLE_CONNECTIONS,
        max_overflow=_MORE_AT_A_TIME,
        pool_recycle=_OLDEST_SECONDS,
    )


def _looking_engine(
    postgres_url: str, *, pool_size: int, max_overflow: int, pool_recycle: int
) -> sqlalchemy.Engine:
    engine = create_pg_engine(
        postgres_url,
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_recycle=pool_recycle,
    )
    sqlalchemy.event.listen(engine, "checkout", _require_silence)
    return engine


def _require_silence(connection: Any, _record: object, _proxy: object) -> None:
    """Have a connection replaced that the server has closed, or said something unasked on.

    Raises:
        DisconnectionError: the pool's sign to open another.
    """
    if connection.closed or has_news(connection.fileno()):
        raise sqlalchemy.exc.DisconnectionError("the server has closed the connection")


_are_tables_there = False


def expect_tables() -> None:
    """Have this process and its forks not look for tables: they are there."""
    global _are_tables_there
    _are_tables_there = True


@cache
def _ensure_tables(postgres_url: str) -> None:
    """Create what is missing; looked at once in the life of a process."""
    if _are_tables_there:
        return

    def table_names() -> set[str]:
        return set(sqlalchemy.inspect(_engine(postgres_url)).get_table_names())

    if not {"event_logs", "runs", "jobs"} <= retry_pg_connection_fn(table_names):
        DagsterPostgresStorage(postgres_url, should_autocreate_tables=True)
