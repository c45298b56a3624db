"""The batch contract between sensors and runs, on the real broker and database."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import msgspec
import nats
import psycopg
import pytest
import uuid_utils
from dagster import DagsterRunStatus, RunRequest
from nats.js.api import ConsumerInfo

from assets.chat_pair_dataset import daily
from contracts.events import encode_event
from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator
from tests.support.events import chat_event, publish_bodies, publish_events, tool_call_event

TOOL_SENSOR = "nats_dagster_tool_call"
CHAT_SENSOR = "nats_dagster_chat_persist"
TOOL_CONSUMER = "knowledge_tool_call"


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    """Works with the permissions of Dagster's own NATS user."""
    monkeypatch.setenv("SLUICE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


def _rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def _consumer(nats_url: str, durable: str = TOOL_CONSUMER) -> ConsumerInfo:
    async def ask() -> ConsumerInfo:
        connection = await nats.connect(nats_url)
        info = await connection.jetstream().consumer_info(PIPELINE, durable)
        await connection.close()
        return info

    return asyncio.run(ask())


def _publish_tool_calls(nats_url: str, count: int) -> None:
    events = [tool_call_event(number) for number in range(count)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, events))


def _only(requests: list[RunRequest] | str) -> RunRequest:
    assert isinstance(requests, list)
    (request,) = requests
    return request


def test_an_idle_tick_says_that_nothing_waits(orchestrator: Orchestrator) -> None:
    assert orchestrator.tick(TOOL_SENSOR) == "knowledge_tool_call: no events wait"


def test_one_run_takes_all_events_that_wait(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 250)

    request = _only(orchestrator.tick(TOOL_SENSOR))
    assert request.run_config["ops"]["tool_call_record"]["config"]["ranges"] == [
        {"first": 1, "last": 250, "count": 250}
    ]
    result = orchestrator.run(request)

    assert result.success
    assert _rows(database_url, "SELECT count(DISTINCT correlation_id) FROM tool_calls") == [(250,)]
    consumer = _consumer(nats_url)
    assert (consumer.num_pending, consumer.num_ack_pending) == (0, 0)


def test_a_sensor_never_acknowledges(orchestrator: Orchestrator, nats_url: str) -> None:
    _publish_tool_calls(nats_url, 5)

    orchestrator.tick(TOOL_SENSOR)

    assert _consumer(nats_url).num_ack_pending == 5


def test_no_second_batch_while_one_is_in_flight(orchestrator: Orchestrator, nats_url: str) -> None:
    _publish_tool_calls(nats_url, 5)
    request = _only(orchestrator.tick(TOOL_SENSOR))
    run = orchestrator.instance.create_run_for_job(
        _job("knowledge_tool_call"),
        run_config=request.run_config,
        tags=dict(request.tags),
        status=DagsterRunStatus.STARTING,
    )
    _publish_tool_calls(nats_url, 5)

    reason = orchestrator.tick(TOOL_SENSOR)

    assert reason == f"knowledge_tool_call: its batch is in flight in run {run.run_id}"


def test_the_same_run_again_changes_nothing(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 20)
    request = _only(orchestrator.tick(TOOL_SENSOR))
    orchestrator.run(request)

    again = orchestrator.run(request)

    metadata = again.asset_materializations_for_node("tool_call_record")[0].metadata
    assert metadata["rows_written"].value == 0
    assert metadata["duplicates_skipped"].value == 20
    assert _rows(database_url, "SELECT count(*) FROM tool_calls") == [(20,)]


def test_a_run_that_fails_gives_its_batch_back_at_once_under_another_run_key(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 30)
    first = _only(orchestrator.tick(TOOL_SENSOR))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tool_calls RENAME TO tool_calls_away")
    assert not orchestrator.run(first, raise_on_error=False).success
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE tool_calls_away RENAME TO tool_calls")

    second = _only(orchestrator.tick(TOOL_SENSOR))
    assert orchestrator.run(second).success

    assert second.run_key != first.run_key
    assert second.run_config == first.run_config
    assert _rows(database_url, "SELECT count(*), count(DISTINCT event_id) FROM tool_calls") == [
        (30, 30)
    ]


def test_a_batch_of_a_killed_run_is_given_back_by_the_sensor(
    orchestrator: Orchestrator, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 30)
    first = _only(orchestrator.tick(TOOL_SENSOR))
    killed = orchestrator.instance.create_run_for_job(
        _job("knowledge_tool_call"), run_config=first.run_config, tags=dict(first.tags)
    )
    orchestrator.instance.report_run_failed(killed)

    second = _only(orchestrator.tick(TOOL_SENSOR))

    assert second.run_config == first.run_config
    assert second.run_key != first.run_key


def test_commit_without_acknowledgement_is_redelivered_and_changes_nothing(
    orchestrator: Orchestrator, database_url: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish_tool_calls(nats_url, 12)
    first = _only(orchestrator.tick(TOOL_SENSOR))

    async def crash_before_acknowledging(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            "assets.event_records.record_assets.acknowledge_batch", crash_before_acknowledging
        )
        with pytest.raises(BaseException):  # noqa: B017, PT011
            orchestrator.run(first)
    assert _rows(database_url, "SELECT count(*) FROM tool_calls") == [(12,)]
    assert _consumer(nats_url).num_ack_pending == 12

    asyncio.run(asyncio.sleep(5.5))  # the ack wait of the tests' consumers
    (result,) = orchestrator.drain(TOOL_SENSOR)

    metadata = result.asset_materializations_for_node("tool_call_record")[0].metadata
    assert metadata["duplicates_skipped"].value == 12
    assert _rows(database_url, "SELECT count(*) FROM tool_calls") == [(12,)]
    assert _consumer(nats_url).num_ack_pending == 0


def test_messages_that_cannot_be_rows_become_dead_letters_and_hold_nothing(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    good = tool_call_event(1)
    future = json.loads(encode_event(tool_call_event(2)))
    future["schema_version"] = 99
    with_nul = tool_call_event(3)
    with_nul.payload.arguments = "a\0b"
    bodies = [
        b"this is not JSON",
        b'{"event_id": 1}',
        json.dumps(future).encode(),
        encode_event(with_nul),
        b"\xff\xfe\x00",
    ]
    asyncio.run(publish_bodies(nats_url, PipelineSubject.TOOL_CALL, bodies))
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, [good]))

    (result,) = orchestrator.drain(TOOL_SENSOR)

    assert result.success
    assert _rows(database_url, "SELECT correlation_id FROM tool_calls") == [("request-1",)]
    letters = _rows(
        database_url,
        "SELECT subject, stream_sequence, reason, body FROM dead_letters ORDER BY 2",
    )
    assert [letter[1:3] for letter in letters] == [
        (1, "undecodable"),
        (2, "undecodable"),
        (3, "unknown_schema_version"),
        (4, "constraint_violation"),
        (5, "undecodable"),
    ]
    assert [bytes(letter[3]) for letter in letters] == bodies
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"no_dead_letters": False, "nothing_missing": True}
    consumer = _consumer(nats_url)
    assert (consumer.num_pending, consumer.num_ack_pending) == (0, 0)


def test_what_exceeds_its_deliveries_becomes_a_dead_letter(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 1)
    asyncio.run(_exhaust_deliveries(nats_url))

    (result,) = orchestrator.drain(TOOL_SENSOR)

    assert result.success
    assert _rows(database_url, "SELECT stream_sequence, reason FROM dead_letters") == [
        (1, "deliveries_exceeded")
    ]
    assert orchestrator.tick(TOOL_SENSOR) == "knowledge_tool_call: no events wait"


async def _exhaust_deliveries(nats_url: str) -> None:
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream()
    subscription = await jetstream.pull_subscribe_bind(durable=TOOL_CONSUMER, stream=PIPELINE)
    limit = (await subscription.consumer_info()).config.max_deliver or 0
    for _ in range(limit):
        (message,) = await subscription.fetch(1, timeout=5)
        await message.nak()
    with pytest.raises(TimeoutError):
        await subscription.fetch(1, timeout=0.5)
    await connection.close()


def test_a_range_may_be_replayed_by_hand(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    _publish_tool_calls(nats_url, 10)
    config = {"ops": {"tool_call_record": {"config": {"ranges": [{"first": 3, "last": 6}]}}}}

    result = orchestrator.run(RunRequest(job_name="knowledge_tool_call", run_config=config))

    assert result.success
    assert _rows(database_url, "SELECT array_agg(stream_sequence ORDER BY 1) FROM tool_calls") == [
        ([3, 4, 5, 6],)
    ]


def test_a_run_without_sequences_says_what_it_needs(orchestrator: Orchestrator) -> None:
    result = orchestrator.run(
        RunRequest(job_name="knowledge_tool_call", run_config={}), raise_on_error=False
    )

    failure = result.failure_data_for_node("tool_call_record")
    assert failure is not None
    assert "names no stream sequences" in str(failure.error)


def test_chat_events_become_history_pairs_and_a_dataset(
    orchestrator: Orchestrator, database_url: str, nats_url: str, tmp_path: Any
) -> None:
    events = [
        chat_event(1),
        chat_event(2, question="same", answer="same"),
        chat_event(3, question="same", answer="same"),
        chat_event(4, answer=None),
    ]
    asyncio.run(publish_events(nats_url, PipelineSubject.CHAT_PERSIST, events))

    results = orchestrator.drain(CHAT_SENSOR)

    assert len(results) == 2
    assert _rows(database_url, "SELECT count(*) FROM chat_history") == [(4,)]
    assert _rows(database_url, "SELECT count(*) FROM chat_pairs") == [(3,)]
    day = events[0].occurred_at.date().isoformat()
    folder = tmp_path / "data" / "datasets" / "chat_pairs" / f"day={day}"
    files = sorted(folder.glob("hour=*/minute=*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert lines == [
        {
            "messages": [
                {"role": "user", "content": "question 1"},
                {"role": "assistant", "content": "answer 1"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "same"},
                {"role": "assistant", "content": "same"},
            ]
        },
    ]
    for durable in ("knowledge_chat_persist", "knowledge_chat_pair_materialize"):
        assert _consumer(nats_url, durable).num_ack_pending == 0


def _job(name: str) -> Any:
    from tests.support.dagster_runs import definitions

    return definitions().resolve_job_def(name)


@pytest.mark.parametrize("wrong_by", [timedelta(days=2), -timedelta(days=20_000)])
def test_an_event_of_a_wrong_clock_holds_nothing_up(
    orchestrator: Orchestrator, database_url: str, nats_url: str, wrong_by: timedelta
) -> None:
    """A gateway whose clock was wrong by days; its events are of no partition that there is."""
    right = chat_event(1)
    moment = right.occurred_at + wrong_by
    event_id = str(uuid_utils.uuid7(nanoseconds=int(moment.timestamp()) * 1_000_000_000))
    wrong = msgspec.structs.replace(chat_event(2), event_id=event_id, occurred_at=moment)
    asyncio.run(publish_events(nats_url, PipelineSubject.CHAT_PERSIST, [right, wrong]))

    requests = orchestrator.tick(CHAT_SENSOR)
    assert not isinstance(requests, str)
    # Dagster refuses the whole tick where one of its runs is of no partition.
    days = [each.partition_key for each in requests if each.partition_key]
    assert days
    assert all(daily.has_partition_key(day) for day in days)
    for request in requests:
        assert orchestrator.run(request).success

    for table in ("chat_history", "chat_pairs"):
        rows = _rows(database_url, f"SELECT correlation_id FROM {table} ORDER BY 1")
        assert rows == [("request-1",), ("request-2",)]
    for durable in ("knowledge_chat_persist", "knowledge_chat_pair_materialize"):
        assert _consumer(nats_url, durable).num_ack_pending == 0
