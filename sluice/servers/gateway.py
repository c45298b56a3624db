"""The gateway as a process."""

import sys
from collections.abc import Mapping

from contracts.settings import GatewaySettings
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec


def gateway_process(settings: GatewaySettings, environment: Mapping[str, str]) -> ProcessSpec:
    """Return how the gateway is run with `environment`."""
    return ProcessSpec(
        name="gateway",
        command=(sys.executable, "-m", "gateway"),
        probe=http_probe(f"{settings.url}/healthz"),
        environment=environment,
        stop_seconds=settings.drain_seconds + settings.shutdown_grace_seconds + 2,
    )
