"""Gateways that wait, stopped, until it is their turn."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.gateway_server import GatewayServer
from benchmarks.wrk_load import LoadResult
from tests.support.processes import running


@dataclass
class GatewayTurn:
    """One running gateway."""

    server: GatewayServer
    process_id: int | None
    """None for the upstream itself, which is never stopped."""
    cold_start_seconds: float = 0.0
    """From the start of its process to its first answer to a chat request."""
    loads: list[LoadResult] = field(default_factory=list)
    other_calls: int = 0
    """Calls answered besides those of `loads`."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the gateway run, for as long as its work takes."""
        self._signal(signal.SIGCONT)
        try:
            yield
            self.server.settle()
        finally:
            self._signal(signal.SIGSTOP)

    def note(self, load: LoadResult) -> None:
        """Remember a load, for the events of its calls to be looked for."""
        self.loads.append(load)

    def processor_seconds(self) -> float | None:
        """Return the processor time of its process so far; None for the upstream itself."""
        if self.process_id is None:
            return None
        times = psutil.Process(self.process_id).cpu_times()
        return times.user + times.system

    def _signal(self, number: signal.Signals) -> None:
        if self.process_id is not None:
            os.killpg(self.process_id, number)


@contextmanager
def waiting_gateways(
    servers: Sequence[GatewayServer], body: bytes, folder: Path, *, prefix: tuple[str, ...]
) -> Iterator[list[GatewayTurn]]:
    """Start `servers` one after the other, each until it answers the chat request `body`.

    Args:
        prefix: of their commands, which pins them to a core.
    """
    with ExitStack() as stack:
        turns = []
        for server in servers:
            if not server.command:
                turns.append(GatewayTurn(server, None))
                continue
            started = time.perf_counter()
            process = stack.enter_context(
                running(server.process(body, prefix=prefix), log=folder / f"{server.name}.log")
            )
            # Its start asked once.
            turn = GatewayTurn(server, process.pid, time.perf_counter() - started, other_calls=1)
            server.settle()
            os.killpg(process.pid, signal.SIGSTOP)
            turns.append(turn)
        yield turns
