"""A backlog made while the pipeline is off: how fast the whole platform works it off.

The events go straight into the stream, a quarter of them each on chat (two consumers, about
1.8 KB), lineage, tool calls and embeddings. Then the platform starts.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.chat_events import chat_events
from benchmarks.figures import Figure, Reference, require
from benchmarks.pipeline_samples import Sample, sample, write_samples
from contracts.events import Event, new_event
from contracts.payloads import EmbeddingRequest, FlowLineage, FlowStage, ToolCall
from contracts.subjects import PipelineSubject
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats
from tests.support.events import publish_events
from tests.support.processes import running
from tests.support.stack import running_sluice_dev, stack_environment

_SETTINGS = {"SLUICE_LAKE_ENABLED": "false", "SLUICE_ENCODER_ENABLED": "false"}
_SAMPLE_SECONDS = 2.0
_MOST_SECONDS = 3000.0
_KINDS = 4
_ROWS = {
    "chat_history": PipelineSubject.CHAT_PERSIST,
    "chat_pairs": PipelineSubject.CHAT_PERSIST,
    "flow_lineage": PipelineSubject.FLOW_LINEAGE,
    "tool_calls": PipelineSubject.TOOL_CALL,
    "embedding_events": PipelineSubject.EMBEDDING,
}


@dataclass(frozen=True)
class BacklogOptions:
    """How many events, over all subjects."""

    events: int = 1_000_000
    samples_file: Path | None = None


def run_backlog_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None], options: BacklogOptions
) -> list[Figure]:
    """Publish while nothing reads, start the platform, and wait until nothing waits.

    Raises:
        InvariantBroken: PostgreSQL does not hold each event exactly once.
    """
    each = (2_000 if is_quick else options.events) // _KINDS
    environment = stack_environment(folder / "platform", settings=_SETTINGS)
    log = folder / "platform" / "log"
    with running_sluice_dev(environment, log=log) as stack:
        data_dir = stack.data_dir
    say("the platform was made, and is off")
    _fill(data_dir, folder, each, say)
    samples: list[Sample] = []
    with running_sluice_dev(environment, log=log) as stack:

        def is_end(latest: Sample) -> bool:
            if int(latest.seconds) % 20 < _SAMPLE_SECONDS:
                say(f"{latest.seconds:4.0f} s: {sum(latest.waiting.values()):,} deliveries wait")
            return not any(latest.waiting.values()) or latest.seconds > _MOST_SECONDS

        asyncio.run(sample(stack, samples, every_seconds=_SAMPLE_SECONDS, until=is_end))
        _require_once(stack.endpoints["postgres"], each)
    if options.samples_file is not None:
        write_samples(options.samples_file, samples)
    return _figures(samples, each)


def _fill(data_dir: Path, folder: Path, count: int, say: Callable[[str], None]) -> None:
    from tests.support.ports import free_port

    server = EmbeddedNats(
        data_dir / "nats",
        free_port(),
        free_port(),
        load_or_create_credentials(data_dir / "credentials.json"),
    )
    server.write_configuration()
    with running(server.process(), log=folder / "nats.log"):
        for subject, events in _events(count).items():
            started = time.perf_counter()
            asyncio.run(publish_events(server.url("admin"), subject, events))
            say(f"{count:,} on {subject}, {count / (time.perf_counter() - started):,.0f} events/s")


def _events(count: int) -> dict[PipelineSubject, Iterator[Event[Any]]]:
    def events_of(make: Callable[[int], Any]) -> Iterator[Event[Any]]:
        return (
            new_event(make(number), correlation_id=f"bench-{number:08d}") for number in range(count)
        )

    return {
        PipelineSubject.CHAT_PERSIST: chat_events(count),
        PipelineSubject.FLOW_LINEAGE: events_of(_lineage),
        PipelineSubject.TOOL_CALL: events_of(_tool_call),
        PipelineSubject.EMBEDDING: events_of(_embedding),
    }


def _lineage(number: int) -> FlowLineage:
    stages = [
        FlowStage(name=name, offset_seconds=offset, duration_seconds=0.01)
        for name, offset in (("embed", 0.001), ("retrieve", 0.004), ("backend", 0.02))
    ]
    return FlowLineage(
        dialect="openai.chat",
        model="qwen3-coder:30b",
        backend="vllm",
        status="completed",
        started_at=datetime.now(UTC),
        duration_seconds=1.734,
        stages=stages,
    )


def _tool_call(number: int) -> ToolCall:
    return ToolCall(
        tool_call_id=f"call_{number}",
        function_name="measure_level",
        arguments='{"weir": "Ardenne", "unit": "cm"}',
        position=0,
        model="qwen3-coder:30b",
        backend="vllm",
    )


def _embedding(number: int) -> EmbeddingRequest:
    return EmbeddingRequest(
        model="all-MiniLM-L6-v2",
        kind="query",
        input_count=1,
        dimensions=256,
        duration_seconds=0.003,
        prompt_tokens=number % 50,
    )


def _require_once(database_url: str, each: int) -> None:
    with psycopg.connect(database_url) as connection:
        for table in _ROWS:
            rows = connection.execute(
                f"SELECT count(*), count(DISTINCT event_id) FROM {table}"
            ).fetchone()
            require(rows == (each, each), f"{each} events were published, {table} holds {rows}")


def _figures(samples: list[Sample], each: int) -> list[Figure]:
    events, seconds = each * _KINDS, samples[-1].seconds
    setup = "broker syncs always, at its start; no gateway load"
    first = samples[0].seconds
    parts = samples[0].cores
    cores = {part: sum(sample.cores[part] for sample in samples) / len(samples) for part in parts}
    busy = Reference("cores of all parts", sum(cores.values()))
    return [
        Figure(
            f"backlog: {events:,} events, from the platform's readiness to the last settled",
            seconds,
            "s",
            Reference("the first look", first),
            setup,
        ),
        Figure(
            "backlog: events settled a second",
            events / seconds,
            "events/s",
            Reference("rows written a second", each * len(_ROWS) / seconds),
            setup,
        ),
        *(
            Figure(f"backlog: processor, {part}", value, "cores", busy, setup)
            for part, value in cores.items()
        ),
    ]
