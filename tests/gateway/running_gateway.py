"""The gateway as a real uvicorn server in a thread of the test process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from contracts.settings import Settings
from gateway.server import gateway_server
from gateway.starting import open_listener


@dataclass
class RunningGateway:
    url: str
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> float:
        """Shut down as on SIGTERM; return the seconds that took."""
        started = time.monotonic()
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()
        return time.monotonic() - started


@contextmanager
def running_gateway(settings: Settings) -> Iterator[RunningGateway]:
    """Serve with `settings` on a free port until the end of the block."""
    listener = open_listener("127.0.0.1", 0)
    server = gateway_server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    gateway = RunningGateway(f"http://127.0.0.1:{listener.getsockname()[1]}", server, thread)
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the gateway ended at its start"
            assert time.monotonic() < deadline, "the gateway does not start"
            time.sleep(0.01)
        yield gateway
    finally:
        gateway.stop()
