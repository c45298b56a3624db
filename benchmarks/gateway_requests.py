"""Requests per second of the gateway against the bare floor, and what became of their events.

Floor and gateway take turns, and each waits until the broker has taken the events of the
round before: the gateway would otherwise work on them while the floor is measured.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

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


def request_body() -> bytes:
    """Return the body of the chat request that is sent over and over."""
    return msgspec.json.encode(_REQUEST)


def measure_requests(
    plan: RequestPlan,
    load: WrkLoad,
    *,
    gateway: RunningGateway,
    floor_url: str,
    servers: PlatformServers,
    say: Callable[[str], None],
) -> list[Figure]:
    """Load the floor and the gateway in turns.

    Raises:
        InvariantBroken: a request failed, or an event is neither in a stream nor counted as
            dropped.
    """
    rounds = {floor_url: list[LoadResult](), gateway.chat_url: list[LoadResult]()}
    all_gateway_rounds = []
    most_waiting = 0
    shipping_seconds = []
    for number in range(plan.round_count + 1):
        is_warm_up = number == 0
        for url, results in rounds.items():
            result = load.run(url, plan.warm_up_seconds if is_warm_up else plan.round_seconds)
            name = "floor" if url == floor_url else "gateway"
            say(
                f"{name}: {result.requests_per_second:,.0f} requests/s,"
                f" p99 {result.p99_milliseconds:.1f} ms" + (" (warm-up)" if is_warm_up else "")
            )
            require(result.failed_count == 0, f"{result.failed_count} requests failed at {url}")
            if not is_warm_up:
                results.append(result)
            if url == gateway.chat_url:
                all_gateway_rounds.append(result)
                most_waiting = max(most_waiting, gateway.count_events().waiting)
                seconds = gateway.wait_until_shipped(_SHIPPING_SECONDS)
                if not is_warm_up:
                    shipping_seconds.append(seconds)
    counts = gateway.count_events()
    stored = asyncio.run(count_stream_messages(servers.nats.url("admin")))
    _require_all_accounted_for(counts, stored, all_gateway_rounds)
    return [
        *_speed_figures(rounds[gateway.chat_url], rounds[floor_url]),
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


def _speed_figures(gateway: Sequence[LoadResult], floor: Sequence[LoadResult]) -> list[Figure]:
    def figure(name: str, unit: str, of: Callable[[LoadResult], float]) -> Figure:
        reference = Reference("bare Starlette and aiohttp", median(map(of, floor)))
        return Figure(f"gateway: {name}", median(map(of, gateway)), unit, reference)

    return [
        figure(
            "pass-through chat completions, publishing on",
            "requests/s",
            lambda each: each.requests_per_second,
        ),
        figure("latency p50, 32 in flight", "ms", lambda each: each.p50_milliseconds),
        figure("latency p99, 32 in flight", "ms", lambda each: each.p99_milliseconds),
        Figure(
            "gateway: failed requests",
            sum(each.failed_count for each in gateway),
            "requests",
            Reference("requests answered", sum(each.request_count for each in gateway)),
        ),
    ]


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
