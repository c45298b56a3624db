"""The server of one process: it says that it stops before it does, and reloads on SIGHUP."""

import asyncio
import gc
import signal
import socket
import threading
from functools import partial
from time import monotonic
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from contracts.settings import Settings
from gateway.app import create_app, split_grace
from gateway.http_protocol import BoundedHttpProtocol, HeadLimits
from gateway.lifecycle import Lifecycle
from gateway.reload import LoadSettings, Reloader
from gateway.tls import open_tls
from gateway.workers.worker import ONLY_WORKER, Worker

_KEEP_ALIVE_SECONDS = 75
_GC_THRESHOLDS = (20_000, 3, 2)


class GatewayServer(uvicorn.Server):
    """uvicorn's server around the gateway's application."""

    def __init__(self, config: uvicorn.Config, app: Starlette, *, drain_seconds: float) -> None:
        super().__init__(config)
        self._lifecycle: Lifecycle = app.state.lifecycle
        self._reloader: Reloader = app.state.reloader
        self._drain_seconds = drain_seconds
        self._exit_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self._reloader.reload)
        self._lifecycle.has_started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop: at once, or when those who watch `/readyz` have had time to see it."""
        is_first = not self._lifecycle.is_stopping
        self._lifecycle.is_stopping = True
        if is_first and self._drain_seconds:
            self._captured_signals.append(sig)
            self._exit_at = monotonic() + self._drain_seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._exit_at is not None and monotonic() >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)


def gateway_server(
    settings: Settings,
    *,
    load_settings: LoadSettings | None = None,
    worker: Worker = ONLY_WORKER,
) -> GatewayServer:
    """Return the server that is to run the gateway.

    Args:
        settings: usable ones; see `require_usable`.
        load_settings: reads them anew when their file changes; None where they have none.
    """
    gateway = settings.gateway
    calls_seconds, _ = split_grace(gateway.shutdown_grace_seconds)
    tls = open_tls(gateway)
    app = create_app(settings, load_settings=load_settings, tls=tls, worker=worker)
    limits = HeadLimits(gateway.max_header_count, gateway.max_header_bytes)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(BoundedHttpProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls.context,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # A float is what asyncio takes; uvicorn's annotation is narrower than its use.
        timeout_graceful_shutdown=calls_seconds,  # type: ignore[arg-type]
    )
    return GatewayServer(config, app, drain_seconds=gateway.drain_seconds)


def relax_garbage_collection() -> None:
    """Collect cycles rarely, and never among what was loaded at the start.

    A request leaves next to none, and at the default of 700 allocations the collector runs on
    most requests: it took a seventh of the time and made the slowest answers. The older
    generations are looked at soon all the same: they are small, and a cycle that got there holds a
    request's texts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
