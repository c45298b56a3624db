"""Runs the encoder: `python -m encoder`."""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
import uvicorn
from starlette.applications import Starlette

from contracts.listening import CannotListen, explain_taken_port, is_loopback, open_listener
from contracts.settings import (
    EncoderSettings,
    SettingsError,
    TelemetrySettings,
    load_settings,
)
from contracts.tracing.opening import TracingError, open_tracing
from contracts.tracing.span_collector import SpanCollector
from encoder.app import create_app
from encoder.grpc_service import GrpcServer
from encoder.logs import configure_logging
from encoder.metrics import EncoderMetrics
from encoder.service import EncoderService
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.loading import load_encoder
from knowledge.encoding.model_directory import ModelDirectoryError

_KEEP_ALIVE_SECONDS = 75
_ENDING_REQUESTS_SECONDS = 1
_TRACES_SECONDS = 1.0

_log = structlog.get_logger("encoder")


def main() -> None:
    """Read the settings and serve until the process is told to stop."""
    try:
        settings = load_settings()
        configure_logging(settings.gateway.log_format)
        serve(
            settings.encoder,
            lambda: load_encoder(settings.encoder, settings.models_dir),
            settings.telemetry,
        )
    except (SettingsError, ModelDirectoryError, CannotListen, TracingError) as error:
        sys.exit(f"encoder: {error}")


def serve(
    settings: EncoderSettings,
    load: Callable[[], EncoderEngine],
    telemetry: TelemetrySettings | None = None,
) -> None:
    """Serve over HTTP and gRPC until SIGINT or SIGTERM.

    Both answer at once, with "not ready" until `load` has returned the engine.

    Raises:
        CannotListen: a port cannot be bound.
        TracingError: spans cannot be sent as the environment asks.
        Exception: what `load` raised.
    """
    with open_listener(settings.host, settings.port, setting="encoder.port") as listener:
        encoder = EncoderServer(settings, load, telemetry)
        # uvicorn raises the signal that stopped it once more, after it has shut down.
        with suppress(KeyboardInterrupt):
            encoder.http.run(sockets=[listener])
    if encoder.failure is not None:
        raise encoder.failure


class EncoderServer:
    """One engine behind HTTP and gRPC, in one event loop.

    `http` is the server to run; the rest comes and goes with it.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        load: Callable[[], EncoderEngine],
        telemetry: TelemetrySettings | None = None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._metrics = EncoderMetrics()
        self._service = EncoderService(settings, self._metrics)
        self._tracing = open_tracing(telemetry or TelemetrySettings(), "sluice-encoder")
        self._metrics.registry.register(SpanCollector(self._tracing))
        self._grpc = GrpcServer(self._service, self._metrics, self._tracing)
        self.failure: Exception | None = None
        """What ended the server, if it was not a signal."""
        self.http = uvicorn.Server(
            uvicorn.Config(
                create_app(self._service, self._metrics, self._lifespan, self._tracing),
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_ENDING_REQUESTS_SECONDS,
            )
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        settings = self._settings
        try:
            await self._grpc.start(settings.host, settings.grpc_port)
        except RuntimeError as error:
            self._fail(
                CannotListen(
                    explain_taken_port(
                        settings.host, settings.grpc_port, error, "encoder.grpc_port"
                    )
                )
            )
            yield
            return
        if not is_loopback(settings.host):
            _log.warning("anyone who can reach this address can use the encoder", **self._addresses)
        loading = asyncio.create_task(self._attach_engine())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await self._grpc.stop()
            await self._service.close()
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.close, _TRACES_SECONDS)
            _log.info("encoder stopped")

    @property
    def _addresses(self) -> dict[str, str]:
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        return {
            "http": f"http://{host}:{self._settings.port}",
            "grpc": f"{host}:{self._settings.grpc_port}",
        }

    async def _attach_engine(self) -> None:
        _log.info("loading the model", **self._addresses)
        started = time.monotonic()
        try:
            engine = await _run_in_daemon_thread(self._load)
        except Exception as error:  # noqa: BLE001 - raised again by `serve`
            self._fail(error)
            return
        self._service.attach(engine)
        await self._grpc.announce_model()
        # Nothing that was loaded is ever garbage.
        gc.collect()
        gc.freeze()
        seconds = round(time.monotonic() - started, 1)
        _log.info("encoder ready", model=engine.model.name, seconds=seconds, **self._addresses)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.http.should_exit = True


async def _run_in_daemon_thread(work: Callable[[], EncoderEngine]) -> EncoderEngine:
    """Return the result of `work`.

    Not in an executor: the process would wait for the thread at its end, and to build a model
    takes longer than anyone waits for a process to stop.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[EncoderEngine] = loop.create_future()

    def resolve(engine: EncoderEngine | None, error: Exception | None) -> None:
        if result.done():
            return
        if engine is not None:
            result.set_result(engine)
        elif error is not None:
            result.set_exception(error)

    def run() -> None:
        engine: EncoderEngine | None = None
        failure: Exception | None = None
        try:
            engine = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            failure = error
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, engine, failure)

    threading.Thread(target=run, name="encoder-loading", daemon=True).start()
    return await result
