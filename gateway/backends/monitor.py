"""Looks again and again whether a backend is up, what it serves and what it speaks."""

import asyncio
import random

import structlog

from contracts.settings import RoutingSettings
from gateway.backends.catalog import ModelCatalog
from gateway.backends.detection import detect_apis
from gateway.backends.http import HttpBackend
from gateway.errors import BackendError

_CHECK_SECONDS = 5.0
_DOWN_INTERVAL_SECONDS = 2.0
_FAILURES_UNTIL_DOWN = 2
_JITTER = 0.1

_log = structlog.get_logger("gateway.backends")


class BackendMonitor:
    """Keeps what is known of one backend true, in a task of its own."""

    def __init__(
        self, backend: HttpBackend, catalog: ModelCatalog | None, settings: RoutingSettings
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._interval = settings.health_interval_seconds
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name=f"backend-{self._backend.name}")

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:  # noqa: BLE001 - logged; the backend must be looked at later on
                _log.exception("looking at a backend failed", backend=self._backend.name)
            interval = self._interval
            if self._failures:
                interval = min(interval, _DOWN_INTERVAL_SECONDS)
            # Of many gateways, not all are to ask at the same moment.
            await asyncio.sleep(interval * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311

    async def _look(self) -> None:
        backend = self._backend
        try:
            await backend.check_presence(_CHECK_SECONDS)
        except BackendError as error:
            self._failures += 1
            if self._failures >= _FAILURES_UNTIL_DOWN and backend.is_up:
                backend.is_up = False
                _log.warning("backend down", backend=backend.name, error=error.message)
            return
        is_news = self._failures > 0 or not backend.has_answered
        self._failures = 0
        backend.has_answered = True
        if is_news:
            backend.breaker.allow_trial()
        if not backend.is_up:
            backend.is_up = True
            _log.info("backend up", backend=backend.name)
        if self._catalog is not None:
            await (self._catalog.ask_now() if is_news else self._catalog.keep_fresh())
        if is_news and backend.settings.apis is None:
            await self._detect_apis()

    async def _detect_apis(self) -> None:
        backend = self._backend
        try:
            found = await detect_apis(backend)
        except BackendError:
            # It went away again: the next look says so, and the one after its return detects.
            backend.has_answered = False
            return
        if backend.found_apis(found):
            _log.info("backend speaks", backend=backend.name, apis=sorted(backend.apis))
