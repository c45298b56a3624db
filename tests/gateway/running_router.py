"""The backends' router without a gateway around it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import monotonic, perf_counter
from typing import Any

from contracts.settings import Api, BackendSettings, RoutingSettings
from gateway.backends.answers import BackendAnswer
from gateway.backends.http import HttpBackend
from gateway.backends.requests import API_PATHS, BackendRequest
from gateway.backends.router import BackendRouter
from gateway.request_context import RequestContext
from gateway.upstream.pool import UpstreamPool


@asynccontextmanager
async def running_router(
    *backends: BackendSettings, is_watching: bool = False, **routing: Any
) -> AsyncIterator[BackendRouter]:
    """Run a router; unless `is_watching`, it knows of its backends only what requests tell."""
    pool = UpstreamPool()
    routing.setdefault("backoff_seconds", 0.01)
    router = BackendRouter(backends, pool, RoutingSettings(**routing))
    if is_watching:
        router.start()
    try:
        yield router
    finally:
        router.close()
        pool.close()


def request_context(headers: dict[bytes, bytes] | None = None) -> RequestContext:
    return RequestContext("test", None, datetime.now(UTC), perf_counter(), headers or {})


async def open_answer(
    router: BackendRouter, model: str = "tiny", *, api: Api = "chat", body: bytes = b"{}"
) -> BackendAnswer:
    """Ask for `model`; the answer is to be closed."""

    def build(_backend: HttpBackend, own_name: str) -> BackendRequest:
        return BackendRequest(API_PATHS[api], body.replace(b"MODEL", own_name.encode()))

    return await (await router.route(model)).open(build, request_context(), api)


async def ask(router: BackendRouter, model: str = "tiny", **options: Any) -> tuple[str, int]:
    """Ask for `model` and read the answer; return the backend's name and the status."""
    answer = await open_answer(router, model, **options)
    try:
        await answer.read_all()
    finally:
        answer.close()
    return answer.backend, answer.status


async def wait_until(is_true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    deadline = monotonic() + seconds
    while not is_true():
        assert monotonic() < deadline, "it does not come to that"
        await asyncio.sleep(0.005)
