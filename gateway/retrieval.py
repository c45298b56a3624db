"""Searches passages for a request, within a time limit and never at the request's cost."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol, TypeVar

import structlog

from contracts.settings import RetrievalSettings
from gateway.metrics import GatewayMetrics
from gateway.retrieval_controls import RetrievalPlan
from knowledge.ports import Passage, PassageIndex, SearchUnavailable

SEARCH_METHOD = "text"

_PRESENCE_INTERVAL_SECONDS = 2.0

_log = structlog.get_logger("gateway.retrieval")

T = TypeVar("T")


class DocumentIndex(PassageIndex, Protocol):
    """A passage index that can tell whether there is anything in it."""

    async def has_documents(self) -> bool:
        """Return whether there is any passage. Raises SearchUnavailable."""
        ...


@dataclass(frozen=True)
class SearchOutcome:
    """One search, done or failed."""

    query: str
    plan: RetrievalPlan
    passages: list[Passage]
    started: float
    """Monotonic seconds."""
    duration_seconds: float
    error: str | None = None


class Retriever:
    """Searches the passage index, and knows without asking whether a search is worth it."""

    def __init__(
        self, index: DocumentIndex, settings: RetrievalSettings, metrics: GatewayMetrics
    ) -> None:
        self._index = index
        self.settings = settings
        self._metrics = metrics
        self._has_documents = False
        self._is_reachable = True
        self._presence_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look whether there are documents, now and from then on every few seconds."""
        await self._look_for_documents()
        self._presence_task = asyncio.create_task(self._watch_documents(), name="document-watch")

    async def stop(self) -> None:
        if self._presence_task is not None:
            self._presence_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._presence_task

    def is_due(self, plan: RetrievalPlan) -> bool:
        """Return whether a request with this plan is to be searched for."""
        return self._has_documents if plan.is_wanted is None else plan.is_wanted

    async def search(self, query: str, plan: RetrievalPlan) -> SearchOutcome:
        """Search; a failure or a timeout is part of the outcome, logged and counted."""
        started = perf_counter()
        passages: list[Passage] = []
        error = None
        try:
            passages = await self._within_time(
                self._index.search(query, top_k=plan.top_k, collection=plan.collection)
            )
        except TimeoutError:
            error = f"no result within {self.settings.timeout_seconds:g} s"
        except SearchUnavailable as failure:
            error = str(failure) or "unavailable"
        except Exception:  # noqa: BLE001 - logged; a search never costs the request
            error = "unexpected error"
            _log.exception("search failed unexpectedly")
        if error is not None:
            self._metrics.count_search_failure()
            _log.warning("search failed", error=error)
        return SearchOutcome(query, plan, passages, started, perf_counter() - started, error)

    async def _watch_documents(self) -> None:
        while True:
            await asyncio.sleep(_PRESENCE_INTERVAL_SECONDS)
            try:
                await self._look_for_documents()
            except Exception:  # noqa: BLE001 - logged; documents must be noticed later on
                _log.exception("looking for documents failed unexpectedly")

    async def _look_for_documents(self) -> None:
        try:
            self._has_documents = await self._within_time(self._index.has_documents())
        except (TimeoutError, SearchUnavailable) as error:
            # What was true remains so: whether to search is no reason to forget documents.
            if self._is_reachable:
                _log.warning("passage index unreachable", error=str(error) or "no answer in time")
            self._is_reachable = False
        else:
            if not self._is_reachable:
                _log.info("passage index reachable again")
            self._is_reachable = True

    async def _within_time(self, operation: Awaitable[T]) -> T:
        async with asyncio.timeout(self.settings.timeout_seconds):
            return await operation
