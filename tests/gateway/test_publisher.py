"""Shipping events: without a broker, across its restarts, and when there is no room."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import aiohttp
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from contracts.events import new_event
from contracts.payloads import ChatTelemetry, TokenUsage, ToolCall
from contracts.settings import NatsSettings, PipelineSettings, SpoolSettings
from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject, TelemetrySubject
from gateway.acknowledged_client import AcknowledgedClient
from gateway.publisher import EventPublisher
from gateway.spool.spool import Spool
from sluice.servers.nats import EmbeddedNats
from sluice.streams import apply_streams
from tests.gateway.conftest import StartGateway, backend_of, chat_body
from tests.gateway.recorded_events import read_events
from tests.gateway.scripted_upstream import ScriptedUpstream
from tests.support.broker_servers import started_broker
from tests.support.events import publish_events
from tests.support.ports import free_port

CHAT = "/v1/chat/completions"


def _call(number: int, *, padding: str = "") -> ToolCall:
    return ToolCall(
        tool_call_id=str(number),
        function_name="f",
        arguments=padding,
        position=0,
        model="m",
        backend="b",
    )


def publish_call(publisher: EventPublisher, number: int, *, padding: str = "") -> bool:
    event = new_event(_call(number, padding=padding), correlation_id=f"call-{number}")
    return publisher.publish(PipelineSubject.TOOL_CALL, event)


def publish_telemetry(publisher: EventPublisher) -> bool:
    telemetry = ChatTelemetry(
        model="m",
        backend="b",
        dialect="openai.chat",
        status="completed",
        is_streaming=False,
        usage=TokenUsage(),
        duration_seconds=0.1,
    )
    return publisher.publish(TelemetrySubject.CHAT, new_event(telemetry, correlation_id="t"))


NewPublisher = Callable[..., EventPublisher]


@pytest.fixture
def new_publisher(tmp_path: Path) -> NewPublisher:
    """Make publishers that share a spool's folder, as workers and restarts do."""

    def make(url: str, *, max_events: int = 1000, max_bytes: int = 10**8) -> EventPublisher:
        spool = Spool(tmp_path / "spool", SpoolSettings())
        return EventPublisher(url, spool, max_events=max_events, max_bytes=max_bytes)

    return make


async def read_call_numbers(nats_url: str) -> list[int]:
    return [
        int(recorded.event.payload.tool_call_id)
        for recorded in await read_events(nats_url)
        if recorded.subject is PipelineSubject.TOOL_CALL
    ]


async def read_batch_sizes(nats_url: str) -> list[int]:
    """Return the sizes of the atomic batches in `PIPELINE`."""
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()
    subscription = await jetstream.pull_subscribe(
        "pipeline.>", stream=PIPELINE, config=ConsumerConfig(ack_policy=AckPolicy.NONE)
    )
    sizes: Counter[str] = Counter()
    pending = (await subscription.consumer_info()).num_pending or 0
    while pending:
        for message in await subscription.fetch(500, timeout=5):
            pending -= 1
            batch_id = (message.headers or {}).get("Nats-Batch-Id")
            if batch_id is not None:
                sizes[batch_id] += 1
    await connection.close()
    return list(sizes.values())


async def test_many_events_arrive_once_and_in_order(
    nats_server: EmbeddedNats, new_publisher: NewPublisher
) -> None:
    publisher = new_publisher(nats_server.url("gateway"), max_events=5000)
    publisher.start()
    for number in range(3000):
        assert publish_call(publisher, number)
    assert await publisher.stop(20) == 0
    assert publisher.shipped == {PipelineSubject.TOOL_CALL: 3000}
    assert (publisher.waiting_events, publisher.waiting_bytes) == (0, 0)
    connection = await nats.connect(nats_server.url("admin"))
    state = (await connection.jetstream().stream_info(PIPELINE)).state
    await connection.close()
    assert state.messages == 3000
    numbers = await read_call_numbers(nats_server.url("admin"))
    assert numbers == list(range(3000))


async def test_a_burst_is_committed_in_atomic_batches(
    nats_server: EmbeddedNats, new_publisher: NewPublisher
) -> None:
    publisher = new_publisher(nats_server.url("gateway"), max_events=5000)
    for number in range(2000):
        publish_call(publisher, number)
    publisher.start()
    assert await publisher.stop(10) == 0

    sizes = await read_batch_sizes(nats_server.url("admin"))
    assert sum(sizes) == 2000
    assert len(sizes) <= 10
    assert await read_call_numbers(nats_server.url("admin")) == list(range(2000))


async def test_a_batch_with_an_event_that_is_there_already_loses_and_repeats_nothing(
    nats_server: EmbeddedNats,
    new_publisher: NewPublisher,
) -> None:
    publisher = new_publisher(nats_server.url("gateway"))
    events = [new_event(_call(number), correlation_id="c") for number in range(20)]
    await publish_events(nats_server.url("admin"), PipelineSubject.TOOL_CALL, events[5:7])
    for event in events:
        publisher.publish(PipelineSubject.TOOL_CALL, event)
    publisher.start()
    assert await publisher.stop(10) == 0

    numbers = await read_call_numbers(nats_server.url("admin"))
    assert sorted(numbers) == list(range(20))
    assert publisher.shipped.total() == 20


async def test_a_stream_without_batches_gets_its_events_one_by_one(
    nats_server: EmbeddedNats,
    new_publisher: NewPublisher,
) -> None:
    connection = await nats.connect(nats_server.url("admin"))
    await connection.jetstream().delete_stream(PIPELINE)
    await connection.jetstream().add_stream(
        name=PIPELINE, subjects=["pipeline.>"], allow_direct=True
    )
    await connection.close()
    publisher = new_publisher(nats_server.url("gateway"))
    for number in range(300):
        publish_call(publisher, number)
    publisher.start()
    assert await publisher.stop(10) == 0

    assert await read_batch_sizes(nats_server.url("admin")) == []
    assert await read_call_numbers(nats_server.url("admin")) == list(range(300))


async def test_a_commit_whose_acknowledgement_is_lost_is_shipped_again(
    nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch, new_publisher: NewPublisher
) -> None:
    monkeypatch.setattr("gateway.publisher._ACK_TIMEOUT_SECONDS", 0.5)
    publisher = new_publisher(nats_server.url("gateway"))
    for number in range(50):
        publish_call(publisher, number)
    real_commit = publisher._on_commit
    publisher._on_commit = lambda _batch, _body: None  # type: ignore[method-assign]
    publisher.start()
    await _until(lambda: publisher._queue.in_flight_count == 50)
    await asyncio.sleep(0.2)
    publisher._on_commit = real_commit  # type: ignore[method-assign]
    assert await publisher.stop(10) == 0

    assert await read_call_numbers(nats_server.url("admin")) == list(range(50))
    assert publisher.shipped.total() == 50


async def test_acknowledgements_are_read_by_the_ordinary_callback_too(
    nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch, new_publisher: NewPublisher
) -> None:
    monkeypatch.setattr(AcknowledgedClient, "_process_msg", Client._process_msg)
    publisher = new_publisher(nats_server.url("gateway"))
    publisher.start()
    for number in range(20):
        publish_call(publisher, number)
    assert await publisher.stop(5) == 0
    assert publisher.shipped.total() == 20


async def test_an_event_shipped_twice_is_one_message(
    nats_server: EmbeddedNats, new_publisher: NewPublisher
) -> None:
    publisher = new_publisher(nats_server.url("gateway"))
    publisher.start()
    await _until(lambda: publisher.is_connected)
    publisher._settle_shipped = lambda _sequence: None  # type: ignore[method-assign]
    publish_call(publisher, 0)
    await _until(lambda: publisher._queue.in_flight_count == 1)
    await asyncio.sleep(0.2)
    del publisher._settle_shipped
    publisher._queue.take_back()
    publisher._wakeup.set()
    assert await publisher.stop(5) == 0
    assert await read_call_numbers(nats_server.url("admin")) == [0]


async def test_broker_that_comes_late_and_restarts(
    nats_server: EmbeddedNats,
    pipeline_settings: PipelineSettings,
    tmp_path: Path,
    new_publisher: NewPublisher,
) -> None:
    server = EmbeddedNats(
        data_dir=tmp_path / "late",
        port=free_port(),
        monitor_port=free_port(),
        credentials=nats_server.credentials,
    )
    server.write_configuration()
    publisher = new_publisher(server.url("gateway"), max_events=5000)
    publisher.start()
    for number in range(500):
        publish_call(publisher, number)
    await asyncio.sleep(0.5)
    assert not publisher.is_connected
    assert publisher.waiting_events == 500

    log = tmp_path / "late.log"
    async with started_broker(server, log) as process:
        # Up without its streams, the broker refuses: nothing may be lost by that either.
        await asyncio.sleep(1.0)
        assert publisher.waiting_events == 500
        await apply_streams(server.url("admin"), pipeline_settings)
        await _until(lambda: publisher.waiting_events == 0)
        publishing = asyncio.create_task(_publish_slowly(publisher, 500, 1500))
        await asyncio.sleep(0.3)
        process.kill()
    await publishing
    assert publisher.waiting_events > 0
    async with started_broker(server, log):
        await _until(lambda: publisher.waiting_events == 0)
        numbers = await read_call_numbers(server.url("admin"))
        assert sorted(numbers) == list(range(1500))
        assert publisher.dropped.total() == 0
        assert await publisher.stop(5) == 0


async def _publish_slowly(publisher: EventPublisher, start: int, stop: int) -> None:
    for number in range(start, stop):
        publish_call(publisher, number)
        if number % 10 == 0:
            await asyncio.sleep(0.01)


async def _until(condition: Callable[[], bool], timeout_seconds: float = 15) -> None:
    async with asyncio.timeout(timeout_seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_full_memory_drops_telemetry_first_and_no_pipeline_event(
    new_publisher: NewPublisher,
) -> None:
    publisher = new_publisher("nats://127.0.0.1:1", max_events=10)
    publisher.start()
    for _ in range(4):
        assert publish_telemetry(publisher)
    for number in range(10):
        assert publish_call(publisher, number)
    assert publisher.dropped == {(TelemetrySubject.CHAT, "queue_full"): 4}
    assert publish_call(publisher, 10)
    assert not publish_telemetry(publisher)
    assert publisher.dropped == {(TelemetrySubject.CHAT, "queue_full"): 5}
    assert publisher.waiting_events == 11
    assert publisher.spool.unread_events == 1
    assert await publisher.stop(0.01) == 0


async def test_without_a_spool_the_newest_are_refused_when_memory_is_full(
    new_publisher: NewPublisher, tmp_path: Path
) -> None:
    (tmp_path / "spool").touch()
    publisher = new_publisher("nats://127.0.0.1:1", max_events=10)
    publisher.start()
    assert publisher.spool.failure == "ENOTDIR"
    for number in range(10):
        assert publish_call(publisher, number)
    assert not publish_call(publisher, 10)
    assert publisher.dropped == {(PipelineSubject.TOOL_CALL, "queue_full"): 1}
    assert publisher.waiting_events == 10
    assert await publisher.stop(0.01) == 10
    assert publisher.dropped[PipelineSubject.TOOL_CALL, "shutdown"] == 10


async def test_what_was_in_memory_alone_is_spooled_when_the_spool_is_back(
    new_publisher: NewPublisher, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    (tmp_path / "spool").touch()
    publisher = new_publisher("nats://127.0.0.1:1")
    publisher.start()
    for number in range(10):
        assert publish_call(publisher, number)
    (tmp_path / "spool").unlink()
    await _until(lambda: publisher.spool.stored_bytes > 0)
    assert publisher.spool.failure is None
    assert await publisher.stop(0.01) == 0

    publisher = new_publisher(nats_server.url("gateway"))
    publisher.start()
    assert await publisher.stop(10) == 0
    assert await read_call_numbers(nats_server.url("admin")) == list(range(10))


async def test_the_bytes_in_memory_are_bounded_too(new_publisher: NewPublisher) -> None:
    publisher = new_publisher("nats://127.0.0.1:1", max_bytes=20_000)
    publisher.start()
    assert publish_telemetry(publisher)
    for number in range(5):
        assert publish_call(publisher, number, padding="x" * 9_000)
    assert publisher.dropped == {(TelemetrySubject.CHAT, "queue_full"): 1}
    assert publisher.waiting_bytes <= 20_000
    assert publisher.waiting_events == 5
    await publisher.stop(0.01)


async def test_events_over_the_memory_are_read_back_in_order(
    new_publisher: NewPublisher, nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    """An outage far longer than memory lasts, a restart in it, and events meanwhile."""
    publisher = new_publisher("nats://127.0.0.1:1", max_events=100)
    publisher.start()
    for number in range(3000):
        assert publish_call(publisher, number)
    assert publisher.waiting_events == 3000
    assert await publisher.stop(0.01) == 0

    publisher = new_publisher(nats_server.url("gateway"), max_events=100)
    publisher.start()
    assert publisher.waiting_events == 3000
    for number in range(3000, 3500):
        assert publish_call(publisher, number)
        if number % 50 == 0:
            await asyncio.sleep(0.02)
    assert await publisher.stop(30) == 0
    assert publisher.shipped == {PipelineSubject.TOOL_CALL: 3500}
    assert await read_call_numbers(nats_server.url("admin")) == list(range(3500))
    assert list((tmp_path / "spool").rglob("*.segment")) == []


async def test_the_events_of_a_worker_that_is_gone_are_shipped_by_another(
    new_publisher: NewPublisher, nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.spool.spool._ADOPTION_SECONDS", 0.1)
    gone = new_publisher("nats://127.0.0.1:1")
    gone.start()
    living = new_publisher(nats_server.url("gateway"))
    living.start()
    for number in range(50):
        publish_call(gone, number)
    await asyncio.sleep(1.5)
    assert living.spool.counters.adopted == 0
    await gone.stop(0.01)
    await _until(lambda: living.shipped.total() == 50)
    assert living.spool.counters.adopted == 1
    await _until(lambda: living.spool.stored_bytes == 0)
    assert await living.stop(5) == 0
    assert await read_call_numbers(nats_server.url("admin")) == list(range(50))


async def test_a_stream_at_its_byte_limit_loses_nothing_and_the_spool_waits(
    new_publisher: NewPublisher, nats_server: EmbeddedNats, pipeline_settings: PipelineSettings
) -> None:
    limited = NatsSettings(pipeline_max_bytes=200_000)
    await apply_streams(nats_server.url("admin"), pipeline_settings, broker=limited)
    publisher = new_publisher(nats_server.url("gateway"))
    publisher.start()
    for number in range(500):
        assert publish_call(publisher, number, padding="x" * 1000)
    await _until(lambda: "maximum bytes exceeded" in publisher.last_error)
    # Of events over 1,000 bytes no more than 200 fit, and none of the others is given up.
    assert publisher.waiting_events >= 300

    unlimited = NatsSettings()
    await apply_streams(nats_server.url("admin"), pipeline_settings, broker=unlimited)
    assert await publisher.stop(20) == 0
    assert publisher.dropped.total() == 0
    assert await read_call_numbers(nats_server.url("admin")) == list(range(500))


async def test_an_event_over_the_brokers_limit_does_not_hold_the_others(
    nats_server: EmbeddedNats,
    tmp_path: Path,
    new_publisher: NewPublisher,
) -> None:
    publisher = new_publisher(nats_server.url("gateway"))
    publisher.start()
    await _until(lambda: publisher.is_connected)
    publish_call(publisher, 0, padding="x" * 40_000_000)
    publish_call(publisher, 1)
    assert await publisher.stop(5) == 0
    assert publisher.dropped == {(PipelineSubject.TOOL_CALL, "too_large"): 1}
    assert await read_call_numbers(nats_server.url("admin")) == [1]
    [kept] = tmp_path.rglob("*.too_large")
    assert kept.stat().st_size > 40_000_000


async def test_wrong_credentials_are_said_and_the_gateway_goes_on(
    nats_server: EmbeddedNats,
    new_publisher: NewPublisher,
) -> None:
    publisher = new_publisher(f"nats://gateway:wrong@127.0.0.1:{nats_server.port}")
    publisher.start()
    publish_call(publisher, 0)
    await _until(lambda: "authorization" in publisher.last_error.lower())
    assert "wrong" not in publisher.last_error
    with pytest.raises(ConnectionError):
        await publisher.measure_latency(1)
    assert await publisher.stop(0.1) == 0


async def test_answers_are_as_fast_without_a_broker(
    start_gateway: StartGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    nats_server: EmbeddedNats,
) -> None:
    async def median_seconds(url: str) -> float:
        durations = []
        for _ in range(60):
            started = time.perf_counter()
            async with client.post(url + CHAT, json=chat_body()) as response:
                assert response.status == 200
                await response.read()
            durations.append(time.perf_counter() - started)
        return sorted(durations)[len(durations) // 2]

    with_broker = start_gateway(backend_of(upstream), nats_url=nats_server.url("gateway"))
    without_broker = start_gateway(backend_of(upstream))
    await median_seconds(with_broker.url)
    fast, other = await median_seconds(with_broker.url), await median_seconds(without_broker.url)
    assert other < 2 * fast + 0.002
    async with client.get(f"{without_broker.url}/healthz?verbose") as response:
        broker = (await response.json())["broker"]
    assert broker["status"] == "unreachable"
    assert broker["events_waiting"] == 180
