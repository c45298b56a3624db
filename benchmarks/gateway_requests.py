"""Requests per second of the gateway against the bare floor, and what became of their events.

Floor and gateway take turns, and each waits until the broker has taken the events of the
round before: the gateway would otherwise work on them while the floor is measured.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec
import psutil

from benchmarks.figures import Figure, Reference, require
from benchmarks.fixed_upstream import MODEL
from benchmarks.platform_servers import PlatformServers
from benchmarks.running_gateway import EventCounts, RunningGateway, count_stream_messages
from benchmarks.wrk_load import CONNECTIONS, LoadResult, WrkLoad
from contracts.settings import GatewaySettings
from contracts.subjects import PipelineSubject, TelemetrySubject

_EVENTS_OF_A_CALL = (
    PipelineSubject.CHAT_PERSIST,
    PipelineSubject.FLOW_LINEAGE,
    TelemetrySubject.CHAT,
)
_SHIPPING_SECONDS = 60.0
_REQUEST = {
    "model": MODEL,
    "messages": [
        {
            "role": "system",
            "content": "You help the operators of a message broker. Answer in short sentences,"
            " name the setting that is meant, and say so where you do not know.",
        },
        {
            "role": "user",
            "content": "Our consumer was restarted in the middle of a batch. Which of the"
            " messages does it get again, and after how long?",
        },
    ],
    "temperature": 0.2,
    "max_tokens": 512,
}


@dataclass(frozen=True)
class RequestPlan:
    """How long and how often is measured."""

    warm_up_seconds: int
    round_seconds: int
    round_count: int


@dataclass(frozen=True)
class Target:
    """A server that is loaded."""

    name: str
    url: str
    process_id: int


@dataclass(frozen=True)
class TargetRound:
    """One round of load on one target."""

    load: LoadResult
    processor_seconds: float
    """Of the target's process, until it had nothing more to do."""

    @property
    def processor_milliseconds(self) -> float:
        """Processor time of one request. Other load on the machine hardly changes it."""
        return self.processor_seconds * 1000 / self.load.request_count


def request_body() -> bytes:
    """Return the body of the chat request that is sent over and over."""
    return msgspec.json.encode(_REQUEST)


def measure_requests(
    plan: RequestPlan,
    load: WrkLoad,
    *,
    gateway: RunningGateway,
    floor: Target,
    servers: PlatformServers,
    say: Callable[[str], None],
) -> list[Figure]:
    """Load the floor and the gateway in turns.

    Raises:
        InvariantBroken: a request failed, or an event is neither in a stream nor counted as
            dropped.
    """
    tested = Target("gateway", gateway.chat_url, gateway.process_id)
    all_gateway_rounds = []
    most_waiting = 0
    shipping_seconds = []
    kept: dict[Target, list[TargetRound]] = {floor: [], tested: []}
    for number in range(plan.round_count + 1):
        is_warm_up = number == 0
        for target, rounds in kept.items():
            processor_seconds = _processor_seconds(target)
            seconds = plan.warm_up_seconds if is_warm_up else plan.round_seconds
            result = load.run(target.url, seconds)
            require(result.failed_count == 0, f"{result.failed_count} requests failed")
            if target is tested:
                all_gateway_rounds.append(result)
                most_waiting = max(most_waiting, gateway.count_events().waiting)
                shipping = gateway.wait_until_shipped(_SHIPPING_SECONDS)
                if not is_warm_up:
                    shipping_seconds.append(shipping)
            processor_seconds = _processor_seconds(target) - processor_seconds
            if not is_warm_up:
                rounds.append(TargetRound(result, processor_seconds))
            say(
                f"{target.name}: {result.requests_per_second:,.0f} requests/s,"
                f" p99 {result.p99_milliseconds:.1f} ms" + (" (warm-up)" if is_warm_up else "")
            )
    counts = gateway.count_events()
    stored = asyncio.run(count_stream_messages(servers.nats.url("admin")))
    _require_all_accounted_for(counts, stored, all_gateway_rounds)
    return [
        *_speed_figures(kept[tested], kept[floor]),
        *_event_figures(counts, stored, all_gateway_rounds),
        Figure(
            "gateway: events waiting for the broker at the end of a round, at most",
            most_waiting,
            "events",
            Reference("bound of the queue", GatewaySettings().publish_queue_events),
        ),
        Figure(
            "gateway: time until the broker had taken the waiting events",
            median(shipping_seconds),
            "s",
            Reference("length of a round", plan.round_seconds),
        ),
    ]


def _speed_figures(gateway: Sequence[TargetRound], floor: Sequence[TargetRound]) -> list[Figure]:
    def figure(name: str, unit: str, of: Callable[[TargetRound], float]) -> Figure:
        reference = Reference("bare Starlette and aiohttp", median(map(of, floor)))
        return Figure(f"gateway: {name}", median(map(of, gateway)), unit, reference)

    return [
        figure(
            "pass-through chat completions, publishing on",
            "requests/s",
            lambda each: each.load.requests_per_second,
        ),
        figure("latency p50, 32 in flight", "ms", lambda each: each.load.p50_milliseconds),
        figure("latency p99, 32 in flight", "ms", lambda each: each.load.p99_milliseconds),
        figure(
            "processor time of a request, its events shipped",
            "ms",
            lambda each: each.processor_milliseconds,
        ),
        Figure(
            "gateway: failed requests",
            sum(each.load.failed_count for each in gateway),
            "requests",
            Reference("requests answered", sum(each.load.request_count for each in gateway)),
        ),
    ]


def _processor_seconds(target: Target) -> float:
    times = psutil.Process(target.process_id).cpu_times()
    return times.user + times.system


def _event_figures(
    counts: EventCounts, stored: dict[str, int], rounds: Sequence[LoadResult]
) -> list[Figure]:
    answered = sum(each.request_count for each in rounds)
    caused = Reference("events of the answered requests", answered * len(_EVENTS_OF_A_CALL))
    shipped = sum(counts.shipped.values())
    lost = {
        kind.__name__.removesuffix("Subject").lower(): sum(
            counts.dropped.get(subject, 0) for subject in kind
        )
        for kind in (PipelineSubject, TelemetrySubject)
    }
    return [
        Figure("gateway: events that the broker acknowledged", shipped, "events", caused),
        Figure("gateway: pipeline events dropped", lost["pipeline"], "events", caused),
        Figure("gateway: telemetry events dropped", lost["telemetry"], "events", caused),
        Figure("gateway: events that wait after the load", counts.waiting, "events", caused),
        Figure(
            "gateway: messages in the streams",
            sum(stored.values()),
            "messages",
            Reference("events that the broker acknowledged", shipped),
        ),
    ]


def _require_all_accounted_for(
    counts: EventCounts, stored: dict[str, int], rounds: Sequence[LoadResult]
) -> None:
    answered = sum(each.request_count for each in rounds)
    # When wrk ends it hangs up on what is in flight: those calls are recorded too.
    most = answered + len(rounds) * CONNECTIONS
    for subject in _EVENTS_OF_A_CALL:
        shipped, dropped = counts.shipped.get(subject, 0), counts.dropped.get(subject, 0)
        require(
            answered <= shipped + dropped <= most,
            f"{answered} requests were answered, but of {subject} {shipped} events were shipped"
            f" and {dropped} dropped",
        )
        require(
            stored.get(subject, 0) == shipped,
            f"{shipped} events of {subject} were shipped, but its stream holds"
            f" {stored.get(subject, 0)}",
        )
