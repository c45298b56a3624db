"""The real gateway under measurement, and what its metrics and its broker say of its events."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import fixed_upstream, paced_upstream
from benchmarks.platform_servers import PlatformServers
from contracts.settings import GatewaySettings
from contracts.streams import PIPELINE, TELEMETRY
from sluice.servers.gateway import gateway_process
from tests.support.ports import free_port
from tests.support.processes import running

_SCRAPE_SECONDS = 10
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class EventCounts:
    """The publisher's counters: shipped and dropped by subject, and what still waits."""

    shipped: Mapping[str, int]
    dropped: Mapping[str, int]
    waiting: int


@dataclass(frozen=True)
class RunningGateway:
    """A gateway process and where it answers."""

    base_url: str
    process_id: int

    @property
    def chat_url(self) -> str:
        return f"{self.base_url}/v1/chat/completions"

    def count_events(self) -> EventCounts:
        """Read the publisher's counters from `/metrics`."""
        answer = requests.get(f"{self.base_url}/metrics", timeout=_SCRAPE_SECONDS)
        answer.raise_for_status()
        shipped: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        waiting = 0
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                if sample.name == "sluice_gateway_events_shipped_total":
                    shipped[sample.labels["subject"]] += int(sample.value)
                elif sample.name == "sluice_gateway_events_dropped_total":
                    dropped[sample.labels["subject"]] += int(sample.value)
                elif sample.name == "sluice_gateway_events_waiting":
                    waiting = int(sample.value)
        return EventCounts(shipped, dropped, waiting)

    def wait_until_shipped(self, timeout_seconds: float) -> float:
        """Wait until no event waits for the broker; return the seconds that took.

        Raises:
            TimeoutError: events still wait.
        """
        started = time.monotonic()
        while (waiting := self.count_events().waiting) > 0:
            if time.monotonic() > started + timeout_seconds:
                raise TimeoutError(f"{waiting} events still wait after {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - started


def backend_configuration(fixed_url: str, paced_url: str) -> str:
    """Return the settings file of a gateway with the two upstreams as its backends."""
    backends = (
        (fixed_upstream.MODEL, fixed_url),
        (paced_upstream.MODEL, paced_url),
    )
    return "\n".join(
        f'[[backends]]\nname = "{model}"\nkind = "openai"\nurl = "{url}"\nmodels = ["{model}"]\n'
        for model, url in backends
    )


@contextmanager
def running_gateway(folder: Path, servers: PlatformServers) -> Iterator[RunningGateway]:
    """Start `python -m gateway` on `servers`, as it is shipped; stop it at the end."""
    settings = GatewaySettings(port=free_port())
    environment = {
        **servers.settings_for("gateway", folder),
        "SLUICE_GATEWAY_PORT": str(settings.port),
    }
    with running(gateway_process(settings, environment), log=folder / "gateway.log") as process:
        yield RunningGateway(f"http://127.0.0.1:{settings.port}", process.pid)


async def count_stream_messages(nats_url: str) -> dict[str, int]:
    """Return how many messages the platform's streams hold, by subject."""
    client = await nats.connect(nats_url)
    try:
        counts: dict[str, int] = {}
        for stream in (PIPELINE, TELEMETRY):
            info = await client.jetstream().stream_info(stream, subjects_filter=">")
            counts.update(info.state.subjects or {})
        return counts
    finally:
        await client.close()
