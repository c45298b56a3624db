"""Hosts as network namespaces on one switch, with links that can be cut.

Nothing of it touches the machine's own network: the switch is in a namespace too.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.faults.requirements import find_program

CLIENT = "client"
_CLONE_NEWNET = 0x40000000
_SUBNET = "10.77.0"
_TABLE = "fault"


@dataclass(frozen=True)
class Network:
    """A switch and its hosts."""

    mark: str
    hosts: tuple[str, ...]

    def address(self, host: str) -> str:
        return f"{_SUBNET}.{self.hosts.index(host) + 1}"

    def namespace(self, host: str) -> str:
        return f"{self.mark}-{host}"

    def enter(self, host: str) -> tuple[str, ...]:
        """Return the prefix of a command that is to run on `host`."""
        return (_program("nsenter"), f"--net=/run/netns/{self.namespace(host)}")

    def move_here(self, host: str) -> None:
        """Move this thread to `host`: sockets that it opens from now on are there.

        Raises:
            OSError: the kernel refuses.
        """
        descriptor = os.open(f"/run/netns/{self.namespace(host)}", os.O_RDONLY)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    def unplug(self, host: str) -> None:
        """Take the link of `host` down at the switch: packets vanish, nobody is told."""
        _ip("-n", self.namespace("switch"), "link", "set", _port(host), "down")

    def plug(self, host: str) -> None:
        _ip("-n", self.namespace("switch"), "link", "set", _port(host), "up")

    def drop_incoming(self, host: str, *, sender: str, percent: int = 100) -> None:
        """Have `host` lose packets that come from `sender`, each by chance below 100 percent."""
        chance = f"numgen random mod 100 < {percent} " if percent < 100 else ""
        rules = (
            f"add table inet {_TABLE}\n"
            f"add chain inet {_TABLE} incoming {{ type filter hook input priority 0; }}\n"
            f"add rule inet {_TABLE} incoming ip saddr {self.address(sender)} {chance}drop\n"
        )
        _run(*self.enter(host), _program("nft"), rules)

    def accept_incoming(self, host: str) -> None:
        """Undo all `drop_incoming` of `host`."""
        _run(
            *self.enter(host),
            _program("nft"),
            f"add table inet {_TABLE}\ndelete table inet {_TABLE}",
        )

    def throttle(self, host: str, kilobits: int) -> None:
        """Let what goes to `host` pass at so many kilobits a second, with up to 1 s of delay."""
        rate = f"{kilobits}kbit"
        _run(
            *(_program("tc"), "-n", self.namespace("switch")),
            *("qdisc", "add", "dev", _port(host), "root"),
            *("tbf", "rate", rate, "burst", "32kbit", "latency", "1s"),
        )

    def unthrottle(self, host: str) -> None:
        switch = self.namespace("switch")
        _run(_program("tc"), "-n", switch, "qdisc", "del", "dev", _port(host), "root")


@contextmanager
def network_of(hosts: Sequence[str]) -> Iterator[Network]:
    """Make the hosts and one more for clients; remove all of them at the end."""
    network = Network(f"sl{uuid4().hex[:6]}", (*hosts, CLIENT))
    made: list[str] = []
    try:
        for name in ("switch", *network.hosts):
            _ip("netns", "add", network.namespace(name))
            made.append(network.namespace(name))
            _ip("-n", network.namespace(name), "link", "set", "lo", "up")
        switch = network.namespace("switch")
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for host in network.hosts:
            namespace = network.namespace(host)
            _ip(
                *("-n", switch, "link", "add", _port(host), "type", "veth"),
                *("peer", "name", "eth0", "netns", namespace),
            )
            _ip("-n", switch, "link", "set", _port(host), "master", "bridge", "up")
            _ip("-n", namespace, "address", "add", f"{network.address(host)}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
        yield network
    finally:
        for namespace in made:
            _ip("netns", "delete", namespace)


def _port(host: str) -> str:
    return f"to-{host}"


def _ip(*arguments: str) -> None:
    _run(_program("ip"), *arguments)


def _program(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise FileNotFoundError(name)
    return found


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr.strip()}")


def remove_leftovers(mark: str) -> None:
    """Delete the namespaces of a network whose maker was killed."""
    for path in Path("/run/netns").glob(f"{mark}-*"):
        _ip("netns", "delete", path.name)
