"""Which models a server says that it serves."""

import asyncio
from time import monotonic

import structlog

from gateway.backends.http import HttpBackend
from gateway.errors import BackendError

_FRESH_SECONDS = 30.0
_MISS_INTERVAL_SECONDS = 1.0

_log = structlog.get_logger("gateway.backends")


class ModelCatalog:
    """One server's list of models, asked again when it is stale.

    A reader gets the list that is known and never waits for a newer one. A failure leaves the
    known list as it is.
    """

    def __init__(self, backend: HttpBackend) -> None:
        self._backend = backend
        self._models: dict[str, int] | None = None
        self._asked_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None
        self._last_error: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the server has ever told its models."""
        return self._models is not None

    def models(self) -> dict[str, int]:
        """Return the known models (ID → Unix seconds of creation); refresh them if stale."""
        if monotonic() - self._asked_at > _FRESH_SECONDS:
            self._start_refresh()
        return self._models or {}

    async def ask_again(self) -> None:
        """Wait for a list that is about a second old at most."""
        if monotonic() - self._asked_at > _MISS_INTERVAL_SECONDS:
            self._start_refresh()
        if self._refresh is not None:
            await asyncio.shield(self._refresh)

    def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()

    def _start_refresh(self) -> None:
        if self._refresh is None or self._refresh.done():
            self._asked_at = monotonic()
            self._refresh = asyncio.create_task(self._fetch(), name="model-catalog")

    async def _fetch(self) -> None:
        try:
            self._models = await self._backend.list_models()
            self._last_error = None
        except BackendError as error:
            if error.message != self._last_error:
                _log.warning("models unknown", backend=self._backend.name, error=error.message)
            self._last_error = error.message
