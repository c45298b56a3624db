"""Addresses that the platform's servers listen on."""

import ipaddress
import socket


class CannotListen(Exception):
    """An address is taken or cannot be bound; the message says why and what to change."""


def open_listener(host: str, port: int, *, setting: str, is_shared: bool = False) -> socket.socket:
    """Return a socket bound to the address.

    Args:
        setting: that names the port, as `section.port`.
        is_shared: others of this user may be bound to it too.

    Raises:
        CannotListen: it is taken or cannot be bound.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise CannotListen(explain_taken_port(host, port, error.strerror, setting)) from error
    return listener


def explain_taken_port(host: str, port: int, reason: object, setting: str) -> str:
    """Return what a person is told where a server cannot listen."""
    variable = f"SLUICE_{setting.replace('.', '_').upper()}"
    return (
        f"cannot listen on {host}:{port}: {reason}; another port is set by {setting} in the"
        f" settings file or {variable}"
    )


def is_every_address(host: str) -> bool:
    """Return whether a server that listens there listens on all of the machine's addresses."""
    return host in ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
