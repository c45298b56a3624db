"""Free ports for servers that tests start."""

import random
import socket

_BELOW_EPHEMERAL = range(20_000, 32_768)
"""Above these the kernel takes the ports of outgoing connections: a port that is free when a test
asks may be some connection's own when the server comes to bind it."""
_given: set[int] = set()
"""One process wants many, before the first of them is bound: none comes twice."""


def free_port() -> int:
    """Return a port on 127.0.0.1 that was free a moment ago.

    It is drawn by chance, so that test runs beside each other seldom choose the same.
    """
    while True:
        port = random.choice(_BELOW_EPHEMERAL)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
