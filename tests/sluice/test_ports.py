"""A taken port is named with its holder and the setting to change."""

import os
import socket

import pytest

from sluice.ports import PortTaken, free_port, require_free_ports


def test_a_taken_port_names_holder_and_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(PortTaken) as raised:
            require_free_ports({"gateway.port": ("127.0.0.1", port)})

    message = str(raised.value)
    assert f"port {port} is taken" in message
    assert f"(pid {os.getpid()})" in message
    assert "SLUICE_GATEWAY_PORT" in message
    assert "[gateway]" in message


def test_free_ports_pass() -> None:
    require_free_ports({"gateway.port": ("127.0.0.1", free_port())})
