"""Finds out who holds a port that we need."""

import errno
import socket
from collections.abc import Mapping

import psutil


class PortTaken(Exception):
    """A port is in use; the message names the holder and the setting to change."""


def free_port() -> int:
    """Return a port on 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_ports(wanted: Mapping[str, tuple[str, int]]) -> None:
    """Check that each port can be bound. Raises PortTaken for all that cannot.

    Args:
        wanted: setting such as `gateway.port` → (host, port).
    """
    complaints = [
        f"port {port} is taken by {_holder_of(port)}; {_advice(setting)}"
        for setting, (host, port) in wanted.items()
        if _is_taken(host, port)
    ]
    if complaints:
        raise PortTaken("\n".join(complaints))


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # Connections of a stopped server linger in TIME_WAIT and must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _holder_of(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            is_listener = connection.status == psutil.CONN_LISTEN
            if is_listener and tuple(connection.laddr)[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another process"


def _advice(setting: str) -> str:
    section, _, key = setting.partition(".")
    variable = f"SLUICE_{section}_{key}".upper()
    return f"choose another with {variable}=… or `{key}` in [{section}] of sluice.toml"
