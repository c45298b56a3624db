"""PostgreSQL full, read-only or slow: batches wait in the stream, and nothing becomes a letter."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from dagster import RunRequest

from contracts.subjects import PipelineSubject
from sensors import batch_runs
from sluice.servers.nats import EmbeddedNats
from tests.support.dagster_runs import Orchestrator
from tests.support.database import rows
from tests.support.events import publish_events, tool_call_event

SENSOR = "nats_dagster_tool_call"
COUNT = 30


@pytest.fixture
def orchestrator(
    database_url: str, nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> Orchestrator:
    monkeypatch.setenv("SLUICE_PIPELINE_PULL_SECONDS", "2")
    return Orchestrator(database_url=database_url, nats_url=nats_server.url("dagster"))


@contextmanager
def read_only(database_url: str) -> Iterator[str]:
    """As after a failover to a standby; yield what PostgreSQL says."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        try:
            yield "read-only transaction"
        finally:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


@contextmanager
def disk_full(database_url: str) -> Iterator[str]:
    """A trigger that says what PostgreSQL says where it cannot extend a file."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER full_disk BEFORE INSERT ON tool_calls EXECUTE FUNCTION refuse()"
        )
        try:
            yield "could not extend file"
        finally:
            connection.execute("DROP TRIGGER full_disk ON tool_calls")


def only_request(orchestrator: Orchestrator) -> RunRequest:
    requests = orchestrator.tick(SENSOR)
    assert isinstance(requests, list), requests
    (request,) = requests
    return request


def publish(nats_url: str) -> None:
    events = [tool_call_event(number) for number in range(COUNT)]
    asyncio.run(publish_events(nats_url, PipelineSubject.TOOL_CALL, events))


def assert_persisted_once(database_url: str) -> None:
    counts = rows(database_url, "SELECT count(*), count(DISTINCT event_id) AS ids FROM tool_calls")
    assert counts == [{"count": COUNT, "ids": COUNT}]
    assert rows(database_url, "SELECT * FROM dead_letters") == []


@pytest.mark.parametrize("fault", [read_only, disk_full])
def test_a_batch_that_cannot_be_written_comes_again(
    orchestrator: Orchestrator,
    database_url: str,
    nats_url: str,
    fault: Callable[[str], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_runs, "_FIRST_DELAY_SECONDS", 0.0)
    publish(nats_url)
    with fault(database_url) as message:
        failed = orchestrator.run(only_request(orchestrator), raise_on_error=False)
        failure = failed.failure_data_for_node("tool_call_record")
        assert failure is not None
        assert message in str(failure.error)
        # Less work waits, not more: what was given back is one batch again.
        request = only_request(orchestrator)
        assert request.tags["sluice/events"] == str(COUNT)
        assert not orchestrator.run(request, raise_on_error=False).success

    result = orchestrator.run(only_request(orchestrator))
    assert result.success
    assert_persisted_once(database_url)


def test_a_database_that_stands_still_holds_the_run_and_no_other_is_started(
    orchestrator: Orchestrator, database_url: str, nats_url: str
) -> None:
    publish(nats_url)
    request = only_request(orchestrator)
    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE tool_calls IN ACCESS EXCLUSIVE MODE")
        outcome: list[bool] = []
        run = threading.Thread(target=lambda: outcome.append(orchestrator.run(request).success))
        run.start()
        run.join(2)
        assert run.is_alive()
        assert "in flight" in str(orchestrator.tick(SENSOR))
        blocker.rollback()
    run.join(60)
    assert outcome == [True]
    assert_persisted_once(database_url)
