"""What Dagster knows of a consumer's batches: which run is in flight, which ones failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, RunRecord, RunsFilter

from assets.batch_config import EventBatchConfig
from assets.jobs import BATCH_ASSETS
from resources.postgres import PostgresResource
from resources.run_liveness import is_held

CONSUMER_TAG = "sluice/consumer"

_FINISHED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
_IN_FLIGHT = [status for status in DagsterRunStatus if status not in _FINISHED]
_LOOK_BACK = 8
_WORKER_GRACE_SECONDS = 30.0
"""A worker takes seconds from its start to its first statement."""
_CLOCK_SKEW_SECONDS = 30.0
"""A moment that lies further ahead than this was told by a clock that has been set back since."""
_FIRST_DELAY_SECONDS = 10.0
_LONGEST_DELAY_SECONDS = 300.0


@dataclass(frozen=True)
class BatchRuns:
    """The batches of one consumer, as runs of one Dagster instance."""

    instance: DagsterInstance
    durable_name: str

    def find_in_flight(self, postgres: PostgresResource) -> RunRecord | None:
        """Return a run that still works on a batch; fail those whose process is gone."""
        for record in self._records(_IN_FLIGHT):
            if not self._has_lost_its_worker(record, postgres):
                return record
            self.instance.report_run_failed(
                record.dagster_run, "The run's process is gone; its batch is given back."
            )
        return None

    def failed_batches(self) -> list[EventBatchConfig]:
        """Return the batches of the failed runs since the last success, newest first."""
        return [_batch_of(record) for record in self._failures_since_success()]

    def retry_delay_seconds(self) -> float:
        """Return how long to wait before the next run: 0 after a success or a first failure.

        A batch that keeps failing would otherwise start a process every few seconds and use
        up its deliveries within a minute.
        """
        failures = self._failures_since_success()
        if len(failures) < 2 or failures[0].end_time is None:
            return 0.0
        delay: float = min(_FIRST_DELAY_SECONDS * 2 ** (len(failures) - 2), _LONGEST_DELAY_SECONDS)
        age = datetime.now(UTC).timestamp() - failures[0].end_time
        return 0.0 if age < -_CLOCK_SKEW_SECONDS else max(0.0, delay - age)

    def _failures_since_success(self) -> list[RunRecord]:
        failures = []
        for record in self._records(list(_FINISHED)):
            if record.dagster_run.status == DagsterRunStatus.SUCCESS:
                break
            failures.append(record)
        return failures

    def _records(self, statuses: list[DagsterRunStatus]) -> Sequence[RunRecord]:
        return self.instance.get_run_records(
            RunsFilter(tags={CONSUMER_TAG: self.durable_name}, statuses=statuses),
            limit=_LOOK_BACK,
        )

    def _has_lost_its_worker(self, record: RunRecord, postgres: PostgresResource) -> bool:
        if record.dagster_run.status != DagsterRunStatus.STARTED or record.start_time is None:
            return False
        age = datetime.now(UTC).timestamp() - record.start_time
        has_had_time = age > _WORKER_GRACE_SECONDS or age < -_CLOCK_SKEW_SECONDS
        return has_had_time and not is_held(postgres, record.dagster_run.run_id)


def _batch_of(record: RunRecord) -> EventBatchConfig:
    run = record.dagster_run
    operations: Any = run.run_config["ops"]
    first_asset = BATCH_ASSETS[run.job_name][0]
    return EventBatchConfig(**operations[first_asset]["config"])
