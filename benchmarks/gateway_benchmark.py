"""The benchmark of the gateway: its servers, its upstreams, its floor."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import uvloop

from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure
from benchmarks.fixed_upstream import fixed_upstream_process
from benchmarks.floor import floor_process
from benchmarks.gateway_requests import RequestPlan, Target, measure_requests, request_body
from benchmarks.gateway_streaming import StreamPlan, measure_streaming
from benchmarks.load_tools import find_load_tools
from benchmarks.paced_upstream import paced_upstream_process
from benchmarks.platform_servers import running_platform_servers
from benchmarks.running_gateway import backend_configuration, running_gateway
from benchmarks.wrk_load import WrkLoad
from tests.support.ports import free_port
from tests.support.processes import running

_CHAT = "/v1/chat/completions"


def run_gateway_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Measure the gateway against the floor, whole answers and streams.

    Raises:
        ToolsMissing: nginx or wrk is not installed.
        InvariantBroken: a request failed or an event is unaccounted for.
    """
    tools = find_load_tools()
    ports = {name: free_port() for name in ("fixed", "paced", "floor", "paced floor")}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with ExitStack() as stack:
        configuration = backend_configuration(urls["fixed"], urls["paced"])
        stack.enter_context(only_these_settings(folder, {}, configuration=configuration))
        processes = {
            name: stack.enter_context(running(spec, log=folder / f"{name}.log"))
            for name, spec in {
                "fixed": fixed_upstream_process(tools, folder / "nginx", ports["fixed"]),
                "paced": paced_upstream_process(ports["paced"]),
                "floor": floor_process(ports["floor"], urls["fixed"]),
                "paced floor": floor_process(ports["paced floor"], urls["paced"]),
            }.items()
        }
        servers = stack.enter_context(running_platform_servers(folder))
        gateway = stack.enter_context(running_gateway(folder, servers))
        figures = measure_requests(
            RequestPlan(1, 1, 1) if is_quick else RequestPlan(3, 8, 4),
            WrkLoad.of_request(tools.wrk, folder / "request.lua", request_body()),
            gateway=gateway,
            floor=Target("floor", f"{urls['floor']}{_CHAT}", processes["floor"].pid),
            servers=servers,
            say=say,
        )
        streaming = measure_streaming(
            StreamPlan(2, 1, 1) if is_quick else StreamPlan(8, 6, 4),
            gateway_url=gateway.chat_url,
            floor_url=f"{urls['paced floor']}{_CHAT}",
            say=say,
        )
        return figures + uvloop.run(streaming)
