"""Ferro Labs' gateway: compiled, Go. Its package carries the binary."""

import secrets
from pathlib import Path

from benchmarks import fixed_upstream, paced_upstream
from benchmarks.gateway_server import GatewayServer
from benchmarks.peers.installation import install_python_peer

NAME = "Ferro"

_CONFIGURATION = """
strategy:
  mode: single
targets:
  - virtual_key: openai
    models: [{models}]
"""


def ferrogw_server(folder: Path, port: int, upstream_url: str) -> GatewayServer:
    """Install the gateway if need be, write its configuration to `folder`; return how it is run.

    Raises:
        PeerMissing: it cannot be installed.
    """
    programs = install_python_peer("ferrogw")
    configuration = folder / "ferrogw.yaml"
    models = f"{fixed_upstream.MODEL}, {paced_upstream.MODEL}"
    configuration.write_text(_CONFIGURATION.format(models=models))
    # It listens on every address, so it is not left without a key.
    key = f"fgw_{secrets.token_hex(16)}"
    return GatewayServer(
        name=NAME,
        base_url=f"http://127.0.0.1:{port}",
        command=(str(programs / "ferrogw"), "serve"),
        environment={
            "GATEWAY_CONFIG": str(configuration),
            "PORT": str(port),
            "MASTER_KEY": key,
            "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": upstream_url,
            "RATE_LIMIT_RPS": "1000000",
            "RATE_LIMIT_BURST": "1000000",
            "LOG_LEVEL": "warn",
            # It loads its catalog from the network otherwise; this refuses, and it takes its own.
            "FERRO_MODEL_CATALOG_URL": "http://127.0.0.1:9/",
        },
        headers={"Authorization": f"Bearer {key}"},
    )
