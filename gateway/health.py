"""`GET /healthz`: alive, with `?verbose` how the parts around are; `GET /readyz`: welcome."""

import asyncio
from collections.abc import Awaitable
from time import perf_counter

from starlette.requests import Request
from starlette.responses import Response

from gateway.backends.http import HttpBackend
from gateway.backends.router import BackendRouter
from gateway.embeddings.served_encoder import ServedEncoder
from gateway.endpoints import json_response
from gateway.errors import BackendError
from gateway.lifecycle import READY, Lifecycle
from gateway.publisher import EventPublisher
from knowledge.database_pool import DATABASE_ERRORS, DatabasePool
from knowledge.ports import EncoderUnavailable

_CHECK_SECONDS = 2.0
_OK = "ok"
_OFF = "off"
_UNREACHABLE = "unreachable"


class HealthEndpoint:
    """Answers 200 as long as the gateway does; the parts' state is in the body."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        publisher: EventPublisher,
        database: DatabasePool,
        router: BackendRouter,
        encoder: ServedEncoder | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._publisher = publisher
        self._database = database
        self._router = router
        self._encoder = encoder

    async def show(self, request: Request) -> Response:
        if "verbose" not in request.query_params:
            return json_response({"status": _OK})
        broker, database, encoder, *backends = await asyncio.gather(
            self._check_broker(),
            self._check_database(),
            self._check_encoder(),
            *(self._check_backend(backend) for backend in self._router.backends),
        )
        spool = self._check_spool()
        parts = (broker, spool, database, encoder, *backends)
        is_whole = all(part["status"] in (_OK, _OFF) for part in parts)
        return json_response(
            {
                "status": _OK if is_whole else "degraded",
                "broker": broker,
                "spool": spool,
                "database": database,
                "encoder": encoder,
                "backends": backends,
            }
        )

    async def show_readiness(self, _request: Request) -> Response:
        """Answer 200 while requests are welcome; 503 while stopping, or without a spool."""
        state = self._lifecycle.state
        failure = self._publisher.spool.failure
        if state == READY and failure is not None:
            return json_response({"status": "spool_failed", "error": failure}, 503)
        return json_response({"status": state}, 200 if state == READY else 503)

    async def _check_broker(self) -> dict[str, object]:
        publisher = self._publisher
        state = await _measure(publisher.measure_latency(_CHECK_SECONDS))
        return {
            **state,
            "events_waiting": publisher.waiting_events,
            "events_shipped": publisher.shipped.total(),
            "events_dropped": publisher.dropped.total(),
        }

    def _check_spool(self) -> dict[str, object]:
        spool = self._publisher.spool
        state: dict[str, object] = {"status": _OK, "bytes": spool.stored_bytes}
        if spool.failure is not None:
            state |= {"status": "failed", "error": spool.failure}
        return state

    async def _check_database(self) -> dict[str, object]:
        return await _measure(self._select_one())

    async def _select_one(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute("SELECT 1")

    async def _check_encoder(self) -> dict[str, object]:
        if self._encoder is None:
            return {"status": _OFF}
        return await _measure(self._encoder.check_health())

    async def _check_backend(self, backend: HttpBackend) -> dict[str, object]:
        state = await _measure(backend.check_health(_CHECK_SECONDS))
        return {
            "name": backend.name,
            "kind": backend.kind,
            **state,
            "circuit_breaker": backend.breaker.state,
            "apis": sorted(backend.apis),
            "in_flight": backend.slots.in_flight,
            "queued": len(backend.slots.waiting),
        }


async def _measure(check: Awaitable[object]) -> dict[str, object]:
    started = perf_counter()
    error: str | None = None
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check
    except TimeoutError:
        error = f"no answer within {_CHECK_SECONDS:g} s"
    except BackendError as failure:
        error = failure.message
    except EncoderUnavailable as failure:
        error = str(failure)
    except DATABASE_ERRORS as failure:
        error = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
    state: dict[str, object] = {
        "status": _OK if error is None else _UNREACHABLE,
        "latency_seconds": round(perf_counter() - started, 6),
    }
    if error is not None:
        state["error"] = error
    return state
