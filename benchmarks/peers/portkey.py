"""Portkey's gateway: TypeScript, Hono on Node.js."""

import shutil
from pathlib import Path

from benchmarks.gateway_server import GatewayServer
from benchmarks.peers.installation import PeerMissing, install_node_peer

NAME = "Portkey"

# It has no setting for the address, and forwards to whichever host a client names.
_ONLY_LOOPBACK = """
const { Server } = require("net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, { port, host: "127.0.0.1" }, rest.at(-1));
};
"""


def portkey_server(folder: Path, port: int, upstream_url: str) -> GatewayServer:
    """Install Portkey's gateway if need be; return how it is run.

    Raises:
        PeerMissing: it cannot be installed.
    """
    node = shutil.which("node")
    if node is None:
        raise PeerMissing("Node.js is not installed")
    modules = install_node_peer("portkey")
    only_loopback = folder / "only_loopback.cjs"
    only_loopback.write_text(_ONLY_LOOPBACK)
    start = modules / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return GatewayServer(
        name=NAME,
        base_url=f"http://127.0.0.1:{port}",
        command=(
            *(node, "--require", str(only_loopback), str(start)),
            *("--headless", f"--port={port}"),
        ),
        environment={"NODE_ENV": "production"},
        headers={
            "Authorization": "Bearer unused",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{upstream_url}/v1",
        },
    )
