"""Runs the gateway: `python -m gateway`."""

import gc
import importlib.util
import socket
import sys
from contextlib import suppress

import structlog
import uvicorn
from sqlalchemy.exc import ArgumentError

from contracts.settings import Settings, SettingsError, load_settings
from gateway.access.key_file import KeyFileError
from gateway.access.opening import KeysNeeded
from gateway.app import create_app, split_grace
from gateway.http_output import HeadJoiningProtocol
from gateway.logs import configure_logging

_KEEP_ALIVE_SECONDS = 75
_GC_THRESHOLD = 50_000

_log = structlog.get_logger("gateway")


class CannotStart(Exception):
    """The gateway refuses to start; the message says why and what to change."""


def main() -> None:
    """Read the settings and serve until the process is told to stop."""
    try:
        serve(load_settings())
    except (SettingsError, CannotStart) as error:
        sys.exit(f"gateway: {error}")


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then end running calls and ship their events.

    Raises:
        CannotStart: others can reach the host and there is no API key, the port is taken, the
            database's URL is none, or the fast HTTP server parts are not installed.
    """
    require_fast_server()
    listener = open_listener(settings.gateway.host, settings.gateway.port)
    configure_logging(settings.gateway.log_format)
    try:
        server = uvicorn.Server(server_config(settings))
    except (KeyFileError, KeysNeeded) as error:
        listener.close()
        raise CannotStart(str(error)) from error
    except ArgumentError as error:
        listener.close()
        raise CannotStart(
            "postgres.url is no PostgreSQL URL; allowed: postgresql://user:password@host:port/name"
        ) from error
    host, port = listener.getsockname()[:2]
    _log.info("gateway listening", url=f"http://{_in_url(host)}:{port}")
    relax_garbage_collection()
    # uvicorn raises the signal that stopped it once more, after it has shut down.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def server_config(settings: Settings) -> uvicorn.Config:
    """Return how uvicorn is to run the gateway."""
    calls_seconds, _ = split_grace(settings.gateway.shutdown_grace_seconds)
    return uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http=HeadJoiningProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # A float is what asyncio takes; uvicorn's annotation is narrower than its use.
        timeout_graceful_shutdown=calls_seconds,  # type: ignore[arg-type]
    )


def relax_garbage_collection() -> None:
    """Collect cycles rarely, and never among what was loaded at the start.

    A request leaves next to none, and at the default of 700 allocations the collector runs on
    most requests: it took a seventh of the time and made the slowest answers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 10, 10)


def require_fast_server() -> None:
    """Refuse uvicorn's slow fallbacks, which cost a factor of five.

    Raises:
        CannotStart: httptools or uvloop is missing.
    """
    missing = [name for name in ("httptools", "uvloop") if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(f"the packages {' and '.join(missing)} are not installed")


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address.

    Raises:
        CannotStart: it is taken or cannot be bound.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror}; another port is set by"
            " gateway.port in the settings file or SLUICE_GATEWAY_PORT"
        ) from error
    return listener


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
