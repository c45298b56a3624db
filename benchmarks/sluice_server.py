"""Our gateway under measurement, and what its metrics and its broker say of its events."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nats
import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import fixed_upstream, paced_upstream
from benchmarks.figures import Figure, Reference, require
from benchmarks.gateway_metrics import OURS
from benchmarks.gateway_server import GatewayServer
from benchmarks.platform_servers import PlatformServers
from contracts.settings import CONFIG_VARIABLE, GatewaySettings
from contracts.streams import PIPELINE, TELEMETRY
from contracts.subjects import PipelineSubject, TelemetrySubject
from sluice.servers.gateway import gateway_process

_EVENTS_OF_A_CALL = (
    PipelineSubject.CHAT_PERSIST,
    PipelineSubject.FLOW_LINEAGE,
    TelemetrySubject.CHAT,
)
_SCRAPE_SECONDS = 10
_SHIPPING_SECONDS = 60.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class EventCounts:
    """The publisher's counters: shipped and dropped by subject, and what still waits."""

    shipped: Mapping[str, int]
    dropped: Mapping[str, int]
    waiting: int


def sluice_server(
    folder: Path, port: int, upstream_url: str, *, servers: PlatformServers
) -> GatewayServer:
    """Return how `python -m gateway` is run on `servers`, as it is shipped."""
    folder.mkdir(exist_ok=True)
    base_url = f"http://127.0.0.1:{port}"
    configuration = folder / "sluice.toml"
    models = [fixed_upstream.MODEL, paced_upstream.MODEL]
    configuration.write_text(
        f'[[backends]]\nname = "upstream"\nkind = "openai"\nurl = "{upstream_url}"\n'
        f"models = {models}\n"
    )
    environment = {
        **servers.settings_for("gateway", folder),
        "SLUICE_GATEWAY_PORT": str(port),
        CONFIG_VARIABLE: str(configuration),
    }
    spec = gateway_process(GatewaySettings(port=port), environment)

    def wait_until_shipped() -> None:
        deadline = time.monotonic() + _SHIPPING_SECONDS
        while (waiting := count_events(base_url).waiting) > 0:
            require(time.monotonic() < deadline, f"{waiting} events still wait for the broker")
            time.sleep(_POLL_SECONDS)

    return GatewayServer(
        name=OURS,
        base_url=base_url,
        command=spec.command,
        environment=spec.environment,
        translates_messages=True,
        settle=wait_until_shipped,
    )


def count_events(base_url: str) -> EventCounts:
    """Read the publisher's counters from `/metrics`."""
    answer = requests.get(f"{base_url}/metrics", timeout=_SCRAPE_SECONDS)
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


def account_for_events(
    counts: Sequence[EventCounts],
    stored: Mapping[str, int],
    *,
    answered: int,
    hung_up: int,
    setup: str,
) -> list[Figure]:
    """Return figures of what became of the calls' events.

    Args:
        counts: of each gateway that ran, at its end.
        stored: messages in the streams by subject.
        answered: calls that were answered.
        hung_up: calls that may have been under way when a load ended: they are recorded too.

    Raises:
        InvariantBroken: an event is neither in a stream nor counted as dropped.
    """
    shipped: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for each in counts:
        shipped.update(each.shipped)
        dropped.update(each.dropped)
    for subject in _EVENTS_OF_A_CALL:
        accounted = shipped[subject] + dropped[subject]
        require(
            answered <= accounted <= answered + hung_up,
            f"{answered} calls were answered, but of {subject} {shipped[subject]} events were"
            f" shipped and {dropped[subject]} dropped",
        )
        require(
            stored.get(subject, 0) == shipped[subject],
            f"{shipped[subject]} events of {subject} were shipped, but its stream holds"
            f" {stored.get(subject, 0)}",
        )
    caused = Reference("events of the answered calls", answered * len(_EVENTS_OF_A_CALL))
    acknowledged = shipped.total()
    lost = {
        kind: sum(dropped[subject] for subject in subjects)
        for kind, subjects in (("pipeline", PipelineSubject), ("telemetry", TelemetrySubject))
    }

    def figure(name: str, value: int, against: Reference) -> Figure:
        return Figure(f"{OURS}: {name}", value, "events", against, setup)

    return [
        figure("events that the broker acknowledged", acknowledged, caused),
        *(figure(f"{kind} events dropped", count, caused) for kind, count in lost.items()),
        figure(
            "messages in the streams",
            sum(stored.values()),
            Reference("events that the broker acknowledged", acknowledged),
        ),
    ]
