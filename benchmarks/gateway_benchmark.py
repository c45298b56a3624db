"""The benchmark of the gateway, side by side with its floor and with other gateways."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cores import one_core_reserved
from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure
from benchmarks.fixed_upstream import fixed_upstream_process
from benchmarks.floor import floor_server
from benchmarks.gateway_load import LoadPlan, chat_body, measure_load
from benchmarks.gateway_metrics import COLD_START, DIRECT, OURS, Samples, make_figures
from benchmarks.gateway_server import GatewayServer
from benchmarks.gateway_streaming import StreamPlan, measure_streams, stream_body
from benchmarks.gateway_turns import GatewayTurn, waiting_gateways
from benchmarks.load_tools import find_load_tools
from benchmarks.paced_upstream import paced_upstream_process
from benchmarks.peers.ferrogw import ferrogw_server
from benchmarks.peers.installation import PeerMissing
from benchmarks.peers.litellm import litellm_server
from benchmarks.peers.portkey import portkey_server
from benchmarks.platform_servers import PlatformServers, running_platform_servers
from benchmarks.sluice_server import (
    EventCounts,
    account_for_events,
    count_events,
    count_stream_messages,
    sluice_server,
)
from benchmarks.wrk_load import Wrk
from sluice.servers.spec import ProcessSpec
from tests.support.ports import free_port
from tests.support.processes import running

PEERS: dict[str, Callable[[Path, int, str], GatewayServer]] = {
    "ferro": ferrogw_server,
    "portkey": portkey_server,
    "litellm": litellm_server,
}


@dataclass(frozen=True)
class GatewayOptions:
    """What of the benchmark is run."""

    peers: Sequence[str] = tuple(PEERS)
    round_count: int = 2
    soak_seconds: int = 20


def run_gateway_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None], options: GatewayOptions
) -> list[Figure]:
    """Measure the gateway, its floor and its peers, all on one and the same core.

    A peer that cannot be installed is left out, and that is said.

    Raises:
        ToolsMissing: nginx or wrk is not installed.
        InvariantBroken: a request through our gateway failed or an event is unaccounted for.
    """
    tools = find_load_tools()
    with (
        only_these_settings(folder, {}),
        one_core_reserved() as prefix,
        running_platform_servers(folder) as servers,
    ):
        comparison = _Comparison(folder, prefix, servers, options.peers, say)
        port = free_port()
        upstream = fixed_upstream_process(tools, folder / "nginx", port)
        with comparison.gateways(upstream, port, chat_body()) as turns:
            for turn in turns:
                if turn.process_id is not None:
                    comparison.samples.add(turn.server.name, COLD_START, turn.cold_start_seconds)
            measure_load(
                LoadPlan(1, 1, 1, 1)
                if is_quick
                else LoadPlan(options.round_count, 2, 4, options.soak_seconds),
                Wrk(tools.wrk, folder),
                turns,
                comparison.samples,
                say=say,
            )
        port = free_port()
        with comparison.gateways(paced_upstream_process(port), port, stream_body(1)) as turns:
            measure_streams(
                StreamPlan(1, 5, 5) if is_quick else StreamPlan(options.round_count, 200, 60),
                turns,
                comparison.samples,
                say=say,
            )
        return comparison.figures()


@dataclass
class _Comparison:
    folder: Path
    prefix: tuple[str, ...]
    servers: PlatformServers
    peers: Sequence[str]
    say: Callable[[str], None]
    samples: Samples = field(default_factory=Samples)
    event_counts: list[EventCounts] = field(default_factory=list)
    answered: int = 0
    hung_up: int = 0
    names: list[str] = field(default_factory=list)

    @contextmanager
    def gateways(
        self, upstream: ProcessSpec, upstream_port: int, body: bytes
    ) -> Iterator[list[GatewayTurn]]:
        """Start `upstream` and each gateway in front of it; they wait for their turn."""
        url = f"http://127.0.0.1:{upstream_port}"
        folder = self.folder / upstream.name.replace(" ", "-")
        folder.mkdir()
        servers = list(self._made(folder, url))
        self.names = [server.name for server in servers]
        with (
            running(upstream, log=folder / "upstream.log"),
            waiting_gateways(servers, body, folder, prefix=self.prefix) as turns,
        ):
            yield turns
            ours = next(turn for turn in turns if turn.server.name == OURS)
            with ours.active():
                self.event_counts.append(count_events(ours.server.base_url))
            self.answered += ours.other_calls + sum(load.request_count for load in ours.loads)
            # When wrk ends it hangs up on what is in flight.
            self.hung_up += sum(load.connections for load in ours.loads)

    def _made(self, folder: Path, upstream_url: str) -> Iterator[GatewayServer]:
        yield GatewayServer(DIRECT, upstream_url)
        yield floor_server(folder, free_port(), upstream_url)
        yield sluice_server(folder, free_port(), upstream_url, servers=self.servers)
        for name in self.peers:
            try:
                yield PEERS[name](folder, free_port(), upstream_url)
            except PeerMissing as error:
                self.say(f"{name} is left out: {error}")

    def figures(self) -> list[Figure]:
        stored = asyncio.run(count_stream_messages(self.servers.nats.url("admin")))
        pinning = "one core" if self.prefix else "all cores"
        setups = dict.fromkeys(self.names, pinning)
        setups[OURS] = f"{pinning}, broker syncs {_sync_setting(self.servers)}"
        return make_figures(self.samples, setups) + account_for_events(
            self.event_counts,
            stored,
            answered=self.answered,
            hung_up=self.hung_up,
            setup=setups[OURS],
        )


def _sync_setting(servers: PlatformServers) -> str:
    """Return `sync_interval` as the broker was started with it: `always` or a time."""
    configuration = json.loads(servers.nats.write_configuration().read_text())
    return str(configuration["jetstream"].get("sync_interval", "2m"))
