"""What an outage in the middle of a batch is to look like, and how the lake comes back from it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from dagster import (
    DagsterEventType,
    ExecuteInProcessResult,
    RunRequest,
    build_schedule_context,
    materialize,
)

from assets.lake import batch
from assets.lake.batch import move_day
from assets.lake.lake_assets import lake_assets
from resources.lake import LakeResource
from resources.postgres import PostgresResource
from tests.support.dagster_runs import Orchestrator, definitions
from tests.support.lake_audit import TOOL_CALLS, assert_same_events
from tests.support.lake_rows import DAY, insert_rows


def tick(postgres: PostgresResource) -> list[RunRequest] | str:
    """Evaluate the lake's schedule: the runs it requests, or why it requests none."""
    schedule = definitions().resolve_schedule_def("hourly_lake_batches")
    with build_schedule_context(
        scheduled_execution_time=datetime.now(UTC),
        resources={"postgres": postgres},
        repository_def=definitions().get_repository_def(),
    ) as context:
        result = schedule.evaluate_tick(context)
    return list(result.run_requests or ()) or result.skip_message or ""


def run_scheduled(
    orchestrator: Orchestrator, request: RunRequest, *, raise_on_error: bool = True
) -> ExecuteInProcessResult:
    """Execute a run of the assets that the schedule selected, for the day that it named."""
    selected = set(request.asset_selection or ())
    return materialize(
        [asset for asset in lake_assets if asset.key in selected],
        instance=orchestrator.instance,
        partition_key=request.partition_key,
        resources={name: orchestrator.resources[name] for name in ("postgres", "lake")},
        raise_on_error=raise_on_error,
    )


def break_before(step: str, take_away: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    """Have `take_away` called before `step`, a function of the module `assets.lake.batch`."""
    function = getattr(batch, step)

    def broken(*arguments: Any, **keywords: Any) -> Any:
        take_away()
        return function(*arguments, **keywords)

    patch.setattr(batch, step, broken)


def assert_outage_is_survived(
    orchestrator: Orchestrator,
    postgres: PostgresResource,
    lake: LakeResource,
    database_url: str,
    *,
    bring_back: Callable[[], None],
) -> None:
    """The scheduled run fails and says why; once all is back, the next one moves every row.

    The day's batch is to be one that `break_before` breaks.
    """
    (request,) = _requests(postgres)
    result = run_scheduled(orchestrator, request, raise_on_error=False)
    assert not result.success
    failures = [
        str(event.event_specific_data)
        for event in result.all_events
        if event.event_type is DagsterEventType.STEP_FAILURE
    ]
    assert failures
    assert all("The batch did not end" in failure for failure in failures), failures
    bring_back()

    (again,) = _requests(postgres)
    assert run_scheduled(orchestrator, again).success

    assert_same_events(lake, database_url)
    assert tick(postgres) == "the lake has every row"


def assert_one_of_two_batches_moves_the_rows(
    postgres: PostgresResource, lake: LakeResource, database_url: str
) -> None:
    """Two batches of a day at once: one moves its 30 rows, the other finds nothing left."""
    with psycopg.connect(database_url) as connection:
        insert_rows(connection, "tool_calls", 30)

    with ThreadPoolExecutor(2) as pool:
        batches = [
            pool.submit(move_day, TOOL_CALLS, DAY, postgres=postgres, lake=lake) for _ in range(2)
        ]
        counts = sorted(each.result().row_count for each in batches)

    assert counts == [0, 30]
    assert_same_events(lake, database_url)


def _requests(postgres: PostgresResource) -> list[RunRequest]:
    requests = tick(postgres)
    assert not isinstance(requests, str), requests
    return requests
