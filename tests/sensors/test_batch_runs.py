"""Runs that lost their process, and runs that keep failing."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from resources.postgres import PostgresResource
from resources.run_liveness import is_held
from sensors import batch_runs
from sensors.batch_runs import CONSUMER_TAG, BatchRuns
from tests.support.dagster_runs import definitions

CONSUMER = "knowledge_tool_call"
RUN_CONFIG = {
    "ops": {"tool_call_record": {"config": {"ranges": [{"first": 1, "last": 2, "count": 2}]}}}
}


@pytest.fixture
def instance() -> DagsterInstance:
    return DagsterInstance.ephemeral()


@pytest.fixture
def postgres(database_url: str) -> PostgresResource:
    return PostgresResource(url=database_url)


def _run(instance: DagsterInstance, status: DagsterRunStatus) -> DagsterRun:
    run = instance.create_run_for_job(
        definitions().resolve_job_def(CONSUMER),
        run_config=RUN_CONFIG,
        tags={CONSUMER_TAG: CONSUMER},
        status=DagsterRunStatus.NOT_STARTED,
    )
    if status != DagsterRunStatus.NOT_STARTED:
        instance.report_engine_event("started", run)
        instance.handle_run_event(run.run_id, _event(status, CONSUMER))
    return run


def _event(status: DagsterRunStatus, job_name: str) -> Any:
    from dagster import DagsterEvent
    from dagster._core.events import DagsterEventType

    types = {
        DagsterRunStatus.STARTED: DagsterEventType.RUN_START,
        DagsterRunStatus.FAILURE: DagsterEventType.RUN_FAILURE,
        DagsterRunStatus.SUCCESS: DagsterEventType.RUN_SUCCESS,
    }
    return DagsterEvent(types[status].value, job_name)


def test_a_started_run_is_in_flight_during_its_grace(
    instance: DagsterInstance, postgres: PostgresResource
) -> None:
    run = _run(instance, DagsterRunStatus.STARTED)

    found = BatchRuns(instance, CONSUMER).find_in_flight(postgres)

    assert found is not None
    assert found.dagster_run.run_id == run.run_id


def test_a_run_whose_process_is_gone_is_failed_and_its_batch_given_back(
    instance: DagsterInstance, postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_runs, "_WORKER_GRACE_SECONDS", -1.0)
    run = _run(instance, DagsterRunStatus.STARTED)
    runs = BatchRuns(instance, CONSUMER)

    assert runs.find_in_flight(postgres) is None

    failed = instance.get_run_by_id(run.run_id)
    assert failed is not None
    assert failed.status == DagsterRunStatus.FAILURE
    (batch,) = runs.failed_batches()
    assert [(each.first, each.last) for each in batch.ranges] == [(1, 2)]


def test_a_run_with_a_living_process_stays_in_flight_until_it_is_killed(
    instance: DagsterInstance,
    postgres: PostgresResource,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_runs, "_WORKER_GRACE_SECONDS", -1.0)
    run = _run(instance, DagsterRunStatus.STARTED)
    code = (
        "import sys, time\n"
        "from resources.postgres import PostgresResource\n"
        "from resources.run_liveness import hold_until_process_ends\n"
        "hold_until_process_ends(PostgresResource(url=sys.argv[1]), sys.argv[2])\n"
        "print('held', flush=True); time.sleep(60)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, database_url, run.run_id], stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"held\n"
    runs = BatchRuns(instance, CONSUMER)
    assert runs.find_in_flight(postgres) is not None

    worker.kill()
    worker.wait()
    deadline = time.monotonic() + 10
    while is_held(postgres, run.run_id):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert runs.find_in_flight(postgres) is None


def test_runs_that_keep_failing_are_tried_less_and_less_often(
    instance: DagsterInstance,
) -> None:
    runs = BatchRuns(instance, CONSUMER)
    delays = [runs.retry_delay_seconds()]
    for _ in range(4):
        _run(instance, DagsterRunStatus.FAILURE)
        delays.append(runs.retry_delay_seconds())

    assert delays[:2] == [0, 0]
    assert [round(delay, -1) for delay in delays[2:]] == [10, 20, 40]


def test_a_success_forgets_earlier_failures(instance: DagsterInstance) -> None:
    for _ in range(3):
        _run(instance, DagsterRunStatus.FAILURE)
    _run(instance, DagsterRunStatus.SUCCESS)

    runs = BatchRuns(instance, CONSUMER)

    assert runs.retry_delay_seconds() == 0
    assert runs.failed_batches() == []


def test_a_clock_that_was_set_back_delays_nothing(
    instance: DagsterInstance, postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs failed, and one lost its process, at moments that are an hour ahead by now."""
    for _failure in range(3):
        _run(instance, DagsterRunStatus.FAILURE)
    runs = BatchRuns(instance, CONSUMER)
    assert runs.retry_delay_seconds() > 5
    lost = _run(instance, DagsterRunStatus.STARTED)
    assert runs.find_in_flight(postgres) is not None

    now = datetime.now(UTC)
    monkeypatch.setattr(batch_runs, "datetime", _ClockSetBackDouble(now - timedelta(hours=1)))

    assert runs.find_in_flight(postgres) is None
    run = instance.get_run_by_id(lost.run_id)
    assert run is not None
    assert run.status == DagsterRunStatus.FAILURE
    assert runs.retry_delay_seconds() == 0


class _ClockSetBackDouble:
    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self, _zone: Any) -> datetime:
        return self._moment
