"""What it costs an answer that its events stand in the spool before its last byte goes out."""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from benchmarks.chat_events import chat_events
from benchmarks.figures import Figure, Reference, require
from contracts.events import Event, new_event
from contracts.payloads import ChatTelemetry, FlowLineage, TokenUsage
from contracts.settings import SpoolSettings
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject
from gateway.publisher import EventPublisher
from gateway.spool.spool import Spool

_ROUNDS = 5
_UNREACHABLE = "nats://127.0.0.1:1"
_MEMORY = "memory alone"


def run_spool_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Publish the events of chat calls without a broker, in turns with each kind of spool.

    Each call has two events for the pipeline, of 2.4 KB together, and one for telemetry.
    """
    calls = 20 if is_quick else 2000
    publishers = {_MEMORY: _publisher(folder / "memory", None)}
    for fsync in ("never", "interval", "always"):
        publishers[f"fsync {fsync}"] = _publisher(folder / fsync, fsync)
    seconds: dict[str, list[float]] = {name: [] for name in publishers}
    for _ in range(_ROUNDS):
        for name, publisher in publishers.items():
            measured = [_seconds_to_publish(publisher, events) for events in _calls(calls)]
            seconds[name] += measured
            say(f"{name}: {statistics.median(measured) * 1e6:.1f} us a call")
    for name, publisher in publishers.items():
        spooled = publisher.spool.stored_bytes
        require((spooled == 0) == (name == _MEMORY), f"{name}: {spooled} bytes in the spool")
        require(publisher.dropped.total() == 0, f"{name}: events were dropped")
        publisher.spool.close()
    return [
        Figure(
            f"spool: publishing a call's events, {name}, {label}",
            quantile(seconds[name]) * 1e6,
            "us",
            Reference(_MEMORY, quantile(seconds[_MEMORY]) * 1e6),
        )
        for name in publishers
        if name != _MEMORY
        for label, quantile in (("p50", statistics.median), ("p99", _p99))
    ]


def _publisher(
    folder: Path, fsync: Literal["never", "interval", "always"] | None
) -> EventPublisher:
    spool = Spool(folder, SpoolSettings(fsync=fsync or "never"))
    if fsync is not None:
        spool.open()
    return EventPublisher(_UNREACHABLE, spool, max_events=10**6, max_bytes=10**9)


def _calls(count: int) -> Iterator[list[tuple[Subject, Event[Any]]]]:
    for chat in chat_events(count):
        lineage = FlowLineage(
            dialect="openai.chat",
            model="qwen3-coder:30b",
            backend="vllm",
            status="completed",
            started_at=datetime.now(UTC),
            duration_seconds=1.734,
            event_ids=[chat.event_id],
            stages=[],
            source_chunk_ids=[],
        )
        telemetry = ChatTelemetry(
            model="qwen3-coder:30b",
            backend="vllm",
            dialect="openai.chat",
            status="completed",
            is_streaming=False,
            usage=TokenUsage(prompt_tokens=187, completion_tokens=94, total_tokens=281),
            duration_seconds=1.734,
        )
        yield [
            (PipelineSubject.CHAT_PERSIST, chat),
            (
                PipelineSubject.FLOW_LINEAGE,
                new_event(lineage, correlation_id=chat.correlation_id),
            ),
            (
                TelemetrySubject.CHAT,
                new_event(telemetry, correlation_id=chat.correlation_id),
            ),
        ]


def _seconds_to_publish(
    publisher: EventPublisher, events: list[tuple[Subject, Event[Any]]]
) -> float:
    started = time.perf_counter()
    publisher.publish_all(events)
    return time.perf_counter() - started


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
