"""Searches passages for a request, within a time limit and never at the request's cost."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol, TypeVar

import structlog

from contracts.settings import RetrievalSettings
from gateway.ending import end_tasks
from gateway.metrics import GatewayMetrics
from gateway.request_context import current_request
from gateway.retrieval_controls import RetrievalPlan
from knowledge.ports import Passage, PassageIndex, SearchResult, SearchUnavailable

OK = "ok"
DEGRADED = "degraded"
FAILED = "failed"
OFF = "off"
"""No search was due: it was turned off, there are no documents, or nothing was asked."""

WHOLE_SEARCH = "retrieve"
"""The stage that a search which found nothing at all is counted under."""

_NO_METHOD = "none"
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
    """One search: done, done without a stage that failed, or failed."""

    query: str
    plan: RetrievalPlan
    started: float
    """Monotonic seconds."""
    duration_seconds: float
    result: SearchResult | None
    """None where nothing could be searched."""
    error: str | None = None
    """Why the search failed, or which stage it had to do without and why."""
    notice: str | None = None
    """The same for the client, who is told nothing of the servers behind the index."""

    @property
    def status(self) -> str:
        if self.result is None:
            return FAILED
        return OK if self.error is None else DEGRADED

    @property
    def passages(self) -> list[Passage]:
        return [] if self.result is None else self.result.passages

    @property
    def method(self) -> str:
        """The stages that did contribute: `text`, `vector`, `hybrid` or `none`."""
        return _NO_METHOD if self.result is None else self.result.method


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
        self._last_error: str | None = None
        self._presence_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look whether there are documents, now and from then on every few seconds."""
        await self._look_for_documents()
        self._presence_task = asyncio.create_task(self._watch_documents(), name="document-watch")

    async def stop(self) -> None:
        if self._presence_task is not None:
            await end_tasks([self._presence_task])

    def is_due(self, plan: RetrievalPlan) -> bool:
        """Return whether a request with this plan is to be searched for."""
        return self._has_documents if plan.is_wanted is None else plan.is_wanted

    async def search(self, query: str, plan: RetrievalPlan) -> SearchOutcome:
        """Search, in the collections that the caller may search.

        A failure or a timeout is part of the outcome, logged and counted.

        Raises:
            CollectionNotAllowed: the plan names a collection that is not the caller's to search.
        """
        grant = current_request.get().grant
        if grant is not None:
            plan = replace(plan, filters=grant.narrow(plan.filters))
        started = perf_counter()
        result = error = notice = None
        try:
            result = await self._within_time(
                self._index.search(
                    query, top_k=plan.top_k, filters=plan.filters, min_score=plan.min_score
                )
            )
        except TimeoutError:
            error = notice = f"no result within {self.settings.timeout_seconds:g} s"
        except SearchUnavailable as failure:
            error = str(failure) or "unavailable"
            notice = "the passage index is unavailable"
        except Exception:  # noqa: BLE001 - logged; a search never costs the request
            error = notice = "unexpected error"
            _log.exception("search failed unexpectedly")
        if result is None:
            self._metrics.count_search_failure(WHOLE_SEARCH)
        else:
            for stage in result.stages:
                if stage.error is not None:
                    self._metrics.count_search_failure(stage.name)
            if result.error is not None:
                error = notice = result.error
        self._log_change(error)
        return SearchOutcome(query, plan, started, perf_counter() - started, result, error, notice)

    def _log_change(self, error: str | None) -> None:
        # One line for each change: while a part is down, every request would have one.
        if error != self._last_error:
            if error is None:
                _log.info("search is whole again")
            else:
                _log.warning("search failed or degraded", error=error)
            self._last_error = error

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
