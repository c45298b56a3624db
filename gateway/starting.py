"""What must hold before the gateway can start, and the socket it listens on."""

import importlib.util
import socket

import psycopg
from psycopg.conninfo import conninfo_to_dict

from contracts import listening
from contracts.broker_access import BrokerAccessError
from contracts.settings import Settings
from contracts.tracing.opening import TracingError, check_protocol
from gateway.access.key_file import KeyFileError
from gateway.access.opening import KeysNeeded, open_access
from gateway.access.rate_limits import LocalLevels
from gateway.tls import TlsError, open_tls

_DATABASE_SCHEMES = ("postgresql://", "postgres://")


class CannotStart(Exception):
    """The gateway refuses to start; the message says why and what to change."""


def require_fast_server() -> None:
    """Refuse uvicorn's slow fallbacks, which cost a factor of five.

    Raises:
        CannotStart: httptools or uvloop is missing.
    """
    missing = [name for name in ("httptools", "uvloop") if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(f"the packages {' and '.join(missing)} are not installed")


def require_usable(settings: Settings) -> None:
    """Return if a gateway can run with the files and addresses of the settings.

    Raises:
        CannotStart: others can reach the host and there is no API key, keys or certificate are
            wrong, those for the broker too, or the database's URL is none.
    """
    try:
        open_access(settings, LocalLevels())
        open_tls(settings.gateway)
        settings.broker.check()
        check_protocol(settings.telemetry)
        _require_database_url(settings.database_url)
    except (KeyFileError, KeysNeeded, TlsError, BrokerAccessError, TracingError) as error:
        raise CannotStart(str(error)) from error


def _require_database_url(url: str) -> None:
    try:
        is_url = url.startswith(_DATABASE_SCHEMES) and bool(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        is_url = False
    if not is_url:
        # Without the cause, which may repeat a password.
        raise CannotStart(
            "postgres.url is no PostgreSQL URL; allowed: postgresql://user:password@host:port/name"
        )


def open_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets bound to the address, among which the kernel divides the connections.

    Of one socket that many processes accept from, one process gets nearly all.

    Raises:
        CannotStart: it is taken or cannot be bound.
    """
    if count == 1:
        return [open_listener(host, port)]
    # With a shared port, another gateway's would be shared too: see first whether it is free.
    open_listener(host, port).close()
    return [open_listener(host, port, is_shared=True) for _ in range(count)]


def open_listener(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket bound to the address, as `contracts.listening.open_listener` does.

    Raises:
        CannotStart: it is taken or cannot be bound.
    """
    try:
        return listening.open_listener(host, port, setting="gateway.port", is_shared=is_shared)
    except listening.CannotListen as error:
        raise CannotStart(str(error)) from error
