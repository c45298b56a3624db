"""Connections that a search runs its statements over, with their limits and settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from knowledge.database_pool import DATABASE_ERRORS, ConnectionSource, SessionSettings
from knowledge.ports import SearchUnavailable

DEFAULT_TIMEOUT_SECONDS = 2.0
DEFAULT_EF_SEARCH = 40

SearchConnection = psycopg.AsyncConnection[Any]

_MAX_SCAN_TUPLES = 40_000
"""Where a filter lets few of the nearest chunks through, the walk ends after so many."""


class SearchConnections:
    """Opens connections for a search's statements. All failures are `SearchUnavailable`.

    The connections are the driver's own: a statement costs 0.1 ms of processor time over it,
    0.3 ms and the making of the expression over SQLAlchemy, and only the driver returns results in
    binary. A search runs up to ten statements within 20 ms.
    """

    def __init__(
        self,
        source: ConnectionSource,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        ef_search: int = DEFAULT_EF_SEARCH,
    ) -> None:
        """
        Args:
            source: of a migrated database. Stays the caller's to close.
            timeout_seconds: limit of each statement, kept by the server.
            ef_search: breadth of the walk through the HNSW index, pgvector's `hnsw.ef_search`.
        """
        self._source = source
        self._settings: SessionSettings = (
            # Compiling a statement takes longer than running it does here.
            ("jit", "off"),
            # A plan without the parameters' values knows neither a filter's selectivity nor that
            # a tsquery is constant.
            ("plan_cache_mode", "force_custom_plan"),
            ("statement_timeout", f"{max(1, round(timeout_seconds * 1000))}ms"),
            ("hnsw.ef_search", str(ef_search)),
            # Without an iterative scan a filter would leave fewer chunks than are wanted. The
            # relaxed order is put right by the search, and misses fewer chunks than the strict
            # one, which passes over what it finds late.
            # https://github.com/pgvector/pgvector#iterative-index-scans
            ("hnsw.iterative_scan", "relaxed_order"),
            ("hnsw.max_scan_tuples", str(_MAX_SCAN_TUPLES)),
        )

    @asynccontextmanager
    async def open(self, what: str) -> AsyncIterator[SearchConnection]:
        """Yield a connection to read with.

        Args:
            what: what is done there, for the error's text: "full-text search".

        Raises:
            SearchUnavailable: the database cannot be reached, has not been migrated, took longer
                than the limit, or refused a statement.
        """
        try:
            async with self._source.reading(self._settings) as connection:
                yield connection
        except DATABASE_ERRORS as error:
            raise SearchUnavailable(f"{what} failed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
