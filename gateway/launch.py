"""Starts the gateway, as one process or as several: `python -m gateway`."""

import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress

import structlog

from contracts.settings import Settings, SettingsError, load_settings
from gateway.logs import configure_logging
from gateway.optional_packages import left_out
from gateway.starting import CannotStart, open_listeners, require_fast_server, require_usable

_METRICS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_log = structlog.get_logger("gateway")


def main() -> None:
    """Read the settings and serve until the process is told to stop."""
    try:
        serve(load_settings())
    except (SettingsError, CannotStart) as error:
        sys.exit(f"gateway: {error}")


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then end running calls and ship their events.

    Raises:
        CannotStart: others can reach the host and there is no API key, keys or certificate are
            wrong, the port is taken, the database's URL is none, or the fast HTTP server parts
            are not installed.
    """
    require_fast_server()
    require_usable(settings)
    workers = settings.gateway.workers
    listeners = open_listeners(settings.gateway.host, settings.gateway.port, workers)
    configure_logging(settings.gateway.log_format)
    # Until it is a reason to reload, it is none to end.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _log.info("gateway listening", url=settings.gateway.url, workers=workers)
    if workers == 1:
        _serve_alone(settings, listeners[0])
    else:
        _serve_with_workers(settings, listeners)


def _serve_alone(settings: Settings, listener: socket.socket) -> None:
    # The metrics' library chooses at its import how it keeps figures: not before now.
    with left_out(*_unused_packages(settings)):
        from gateway.server import gateway_server, relax_garbage_collection

    server = gateway_server(settings, load_settings=load_settings)
    relax_garbage_collection()
    # uvicorn raises the signal that stopped it once more, after it has shut down.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _serve_with_workers(settings: Settings, listeners: list[socket.socket]) -> None:
    with tempfile.TemporaryDirectory(prefix="sluice-gateway-metrics-") as folder:
        os.environ[_METRICS_DIR_VARIABLE] = folder
        with left_out(*_unused_packages(settings)):
            from gateway.workers.supervisor import WorkerSupervisor

        has_failed = WorkerSupervisor(settings, listeners).run()
    if has_failed:
        sys.exit(1)


def _unused_packages(settings: Settings) -> list[str]:
    """Return packages that libraries import where they are installed, and the gateway never uses.

    uvicorn has watchfiles to restart while somebody writes code, nats-py has aiohttp for brokers
    behind WebSockets.
    """
    return ["watchfiles"] if settings.nats_url.startswith("ws") else ["watchfiles", "aiohttp"]
