"""Which models a server says that it serves."""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from gateway.backends.http import HttpBackend
from gateway.errors import BackendError

_FRESH_SECONDS = 30.0
_MISS_INTERVAL_SECONDS = 1.0

_log = structlog.get_logger("gateway.backends")


class ModelCatalog:
    """One server's list of models.

    A reader gets the list that is known and never waits for a newer one. A failure leaves the
    known list as it is.
    """

    def __init__(self, backend: HttpBackend, on_change: Callable[[], None]) -> None:
        self.models: dict[str, int] = {}
        """Model ID → moment of creation, Unix seconds."""
        self.is_known = False
        """Whether the server has ever told its models."""
        self._backend = backend
        self._on_change = on_change
        self._asked_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None
        self._last_error: str | None = None

    async def ask_again(self) -> None:
        """Wait for a list that is about a second old at most."""
        await self._ask(older_than=_MISS_INTERVAL_SECONDS)

    async def ask_now(self) -> None:
        """Wait for a list that is asked for now, or is being asked for."""
        await self._ask(older_than=-1.0)

    async def keep_fresh(self) -> None:
        """Wait for a list that is half a minute old at most."""
        await self._ask(older_than=_FRESH_SECONDS)

    def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()

    async def _ask(self, *, older_than: float) -> None:
        now = monotonic()
        is_asking = self._refresh is not None and not self._refresh.done()
        if not is_asking and now - self._asked_at > older_than:
            self._asked_at = now
            self._refresh = asyncio.create_task(self._fetch(), name="model-catalog")
        if self._refresh is not None:
            # Not awaited itself: its end, be it by `close`, must not end whoever waits.
            await asyncio.wait([self._refresh])

    async def _fetch(self) -> None:
        try:
            models = await self._backend.list_models()
        except BackendError as error:
            if error.message != self._last_error:
                _log.warning("models unknown", backend=self._backend.name, error=error.message)
            self._last_error = error.message
            return
        self._last_error = None
        if models != self.models or not self.is_known:
            self.models = models
            self.is_known = True
            self._on_change()
