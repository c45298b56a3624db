"""The network's faults do what they are named for, and are gone when they are taken back."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.faults.network import Network, network_of
from tests.faults.requirements import require

PORT = 8000


@pytest.fixture
def network() -> Iterator[Network]:
    """Two hosts, on one of which a server listens."""
    require()
    with network_of(("desktop", "compute")) as network:
        server = subprocess.Popen(
            [*network.enter("desktop"), sys.executable, "-m", "http.server", str(PORT)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            while not _reaches(network, "compute"):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield network
        finally:
            server.kill()
            server.wait()


def _reaches(network: Network, host: str) -> bool:
    """Tell whether `host` gets a connection to the desktop's server."""
    address = network.address("desktop")
    connect = ("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{PORT}")
    result = subprocess.run([*network.enter(host), *connect], capture_output=True, check=False)
    return result.returncode == 0


def test_an_unplugged_host_is_reached_by_nobody(network: Network) -> None:
    network.unplug("desktop")
    assert not _reaches(network, "compute")
    assert not _reaches(network, "client")
    network.plug("desktop")
    assert _reaches(network, "compute")


def test_a_host_is_deaf_to_one_other_alone(network: Network) -> None:
    network.drop_incoming("desktop", sender="compute")
    assert not _reaches(network, "compute")
    assert _reaches(network, "client")
    network.accept_incoming("desktop")
    network.accept_incoming("desktop")
    assert _reaches(network, "compute")


def test_a_throttled_host_is_slow_and_reached(network: Network) -> None:
    network.throttle("desktop", 100)
    assert _reaches(network, "compute")
    network.unthrottle("desktop")
    assert _reaches(network, "compute")
