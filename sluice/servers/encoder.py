"""The encoder as a process."""

import sys
from collections.abc import Mapping

from contracts.settings import EncoderSettings
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec

_READY_SECONDS = 180.0
"""The first start builds the model."""


def encoder_process(settings: EncoderSettings, environment: Mapping[str, str]) -> ProcessSpec:
    """Return how the encoder is run with `environment`."""
    return ProcessSpec(
        name="encoder",
        command=(sys.executable, "-m", "encoder"),
        probe=http_probe(f"http://{settings.host}:{settings.port}/health"),
        environment=environment,
        ready_seconds=_READY_SECONDS,
    )
