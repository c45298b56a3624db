"""The dbt models over the lake as assets: staging, intermediate and the marts."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy
from dagster import (
    AssetExecutionContext,
    AssetSelection,
    DagsterRunStatus,
    DefaultScheduleStatus,
    Failure,
    RunRequest,
    RunsFilter,
    ScheduleEvaluationContext,
    SkipReason,
    define_asset_job,
    in_process_executor,
    multi_asset,
    schedule,
)
from sqlalchemy import func, select

from assets.lake.dbt_project import DBT_DIR, read_model_specs
from contracts.settings import Settings, load_settings
from contracts.tables import erasure_requests, lake_watermarks
from resources.lake import LakeResource
from resources.postgres import PostgresResource

MARTS_JOB = "build_marts"


def marts_file(settings: Settings) -> Path:
    """Return the DuckDB database of the marts, on an embedded lake."""
    return (settings.data_dir / "lake" / "analytics.duckdb").absolute()


@multi_asset(
    name="lake_models",
    specs=read_model_specs(),
    can_subset=True,
    description="Builds and tests the dbt models.",
)
def lake_models(context: AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
    """Run `dbt build` over the selected models; a failed test fails the run."""
    from dagster_dbt import DbtCliResource

    settings = load_settings()
    models = sorted(key.path[-1] for key in context.selected_asset_keys)
    target = marts_file(settings).parent / "dbt" / context.run.run_id
    with _environment(settings, lake):
        dbt = DbtCliResource(
            project_dir=str(DBT_DIR),
            profiles_dir=str(DBT_DIR),
            dbt_executable=str(Path(sys.executable).with_name("dbt")),
        )
        invocation = dbt.cli(
            ["build", "--select", " ".join(models)], target_path=target, raise_on_error=False
        )
        manifest: dict[str, Any] | None = None
        for event in invocation.stream_raw_events():
            if not event.is_result_event:
                continue
            # dbt has written it before it runs its first model.
            manifest = manifest or json.loads((target / "manifest.json").read_text())
            yield from event.to_default_asset_events(
                manifest=manifest, context=context, target_path=target
            )
    error = invocation.get_error()
    if error is not None:
        raise Failure(f"dbt failed: {error}") from error


@contextmanager
def _environment(settings: Settings, lake: LakeResource) -> Iterator[None]:
    """Tell dbt, which is another process, where the lake and the marts are."""
    file = marts_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    trino = urlsplit(settings.lake.trino_url)
    told = {
        "SLUICE_DBT_TARGET": "duckdb" if lake.is_embedded else "trino",
        "SLUICE_DBT_MARTS_FILE": str(file),
        "SLUICE_DBT_TRINO_HOST": trino.hostname or "",
        "SLUICE_DBT_TRINO_PORT": str(trino.port),
        "SLUICE_DBT_TRINO_CATALOG": settings.lake.trino_catalog,
        "SLUICE_LAKE_WAREHOUSE": lake.location,
        "SLUICE_POSTGRES_URL": lake.libpq_url,
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


marts_job = define_asset_job(
    MARTS_JOB,
    selection=AssetSelection.assets(lake_models, "lake_report"),
    description="Builds the marts from what the lake has, and the report of them.",
    executor_def=in_process_executor,
)


@schedule(
    job=marts_job,
    cron_schedule="22 * * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
    description="Has the marts built where the lake changed since they were.",
)
def hourly_marts(
    context: ScheduleEvaluationContext, postgres: PostgresResource
) -> RunRequest | SkipReason:
    """Request a build, unless the last one has seen everything."""
    if not load_settings().lake.enabled:
        return SkipReason("the lake is off: `lake.enabled`")
    with postgres.begin() as connection:
        newest = _newest_change(connection)
    if newest is None:
        return SkipReason("the lake has no rows")
    built = context.instance.get_run_records(
        RunsFilter(job_name=MARTS_JOB, statuses=[DagsterRunStatus.SUCCESS]), limit=1
    )
    if built and datetime.fromtimestamp(built[0].start_time or 0, UTC) > newest:
        return SkipReason("the lake did not change since the marts were built")
    return RunRequest()


def _newest_change(connection: sqlalchemy.Connection) -> datetime | None:
    """Return when rows last came to the lake, or were erased from it."""
    moved = select(func.max(lake_watermarks.c.recorded_at)).where(lake_watermarks.c.row_count > 0)
    erased = select(func.max(erasure_requests.c.lake_erased_at))
    moments = [connection.scalar(statement) for statement in (moved, erased)]
    return max(filter(None, moments), default=None)
