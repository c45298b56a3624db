"""Removes stored responses that are older, or more, than the settings keep."""

import asyncio
from collections.abc import Collection
from typing import LiteralString

import structlog

from contracts.settings import ResponsesSettings
from gateway.ending import end_tasks
from gateway.metrics import GatewayMetrics
from gateway.responses.store import ResponseStore, describe_failure
from knowledge.database_pool import DATABASE_ERRORS, DatabasePool

_BATCH = 1000
"""Rows of one statement: a long one would hold its locks for long."""

_DELETE_EXPIRED = """
    DELETE FROM api_responses WHERE response_id IN (
        SELECT response_id FROM api_responses
        WHERE expires_at <= now()
        ORDER BY expires_at
        LIMIT %(batch)s
        FOR UPDATE SKIP LOCKED
    )
    """
# The newest of a key is always kept, however large it is.
_DELETE_SURPLUS = """
    DELETE FROM api_responses WHERE response_id IN (
        SELECT response_id FROM (
            SELECT response_id,
                row_number() OVER newest_first AS position,
                sum(size_bytes) OVER newest_first - size_bytes AS newer_bytes
            FROM api_responses
            WHERE api_key_name = ANY(%(api_key_names)s) OR %(is_for_all)s
            WINDOW newest_first AS (
                PARTITION BY api_key_name ORDER BY expires_at DESC, response_id DESC
            )
        ) AS kept
        WHERE position > %(max_responses)s OR newer_bytes >= %(max_bytes)s
        LIMIT %(batch)s
    )
    """

_log = structlog.get_logger("gateway.responses")


class ResponseRetention:
    """Purges `api_responses` in the background, away from every request."""

    def __init__(
        self,
        database: DatabasePool,
        store: ResponseStore,
        settings: ResponsesSettings,
        metrics: GatewayMetrics,
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None
        self._was_reachable = True

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="response-retention")

    async def stop(self) -> None:
        if self._task is not None:
            await end_tasks([self._task])

    async def purge(self, api_key_names: Collection[str] | None = None) -> int:
        """Delete what is too old, and what the keys have too much of; return how many.

        Args:
            api_key_names: keys whose counts are looked at; None: of all.
        """
        names = {
            "api_key_names": list(api_key_names or ()),
            "is_for_all": api_key_names is None,
            "max_responses": self._settings.max_responses,
            "max_bytes": self._settings.max_bytes,
            "batch": _BATCH,
        }
        deleted = await self._delete("expired", _DELETE_EXPIRED, {"batch": _BATCH})
        if api_key_names is None or api_key_names:
            deleted += await self._delete("surplus", _DELETE_SURPLUS, names)
        return deleted

    async def _delete(
        self, reason: str, statement: LiteralString, parameters: dict[str, object]
    ) -> int:
        total, count = 0, _BATCH
        while count == _BATCH:
            async with self._database.connection() as connection:
                count = (await connection.execute(statement, parameters)).rowcount
                await connection.commit()
            total += count
            self._metrics.count_purged_responses(reason, count)
        if total:
            _log.info("stored responses removed", reason=reason, count=total)
        return total

    async def _run(self) -> None:
        due: set[str] | None = None
        while True:
            try:
                await self.purge(due)
            except DATABASE_ERRORS as error:
                if self._was_reachable:
                    _log.warning("stored responses cannot be purged", error=describe_failure(error))
                self._was_reachable = False
            except Exception:  # noqa: BLE001 - logged; purging must go on later
                _log.exception("purging stored responses failed unexpectedly")
            else:
                self._was_reachable = True
                due = set()
            await asyncio.sleep(self._settings.purge_interval_seconds)
            if due is not None:
                due |= self._store.take_written_keys()
