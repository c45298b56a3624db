"""The dbt models over the lake as assets: staging, intermediate and the marts; tests as checks."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    BackfillPolicy,
    Config,
    Failure,
    define_asset_job,
    in_process_executor,
    multi_asset,
)
from pydantic import Field

from assets.lake.dbt_command import dbt_environment, dbt_executable, hold_marts, marts_file
from assets.lake.dbt_project import DBT_DIR, read_check_specs, read_model_specs
from contracts.settings import load_settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource

MARTS_JOB = "build_marts"


class BuildConfig(Config):
    """How the models are built."""

    full_refresh: bool = Field(
        default=False,
        description="Build models by day anew for all days, whatever the partitions: after a"
        " change of their SQL or columns.",
    )


@multi_asset(
    name="lake_models",
    specs=read_model_specs(),
    check_specs=read_check_specs(),
    can_subset=True,
    backfill_policy=BackfillPolicy.single_run(),
    description="Builds the dbt models, those by day for the partitions' days, and tests them.",
)
def lake_models(
    context: AssetExecutionContext,
    config: BuildConfig,
    lake: LakeResource,
    postgres: PostgresResource,
) -> Iterator[Any]:
    """Run `dbt build` over the selected models; a failed test fails the run."""
    from dagster_dbt import DbtCliResource

    settings = load_settings()
    # One for all runs, of which only one holds the marts: they would fill the disk, and where the
    # days are the same dbt need not read the project again.
    target = marts_file(settings).parent / "dbt" / "runs"
    with _environment(dbt_environment(settings, lake)), hold_marts(settings, postgres):
        dbt = DbtCliResource(
            project_dir=str(DBT_DIR),
            profiles_dir=str(DBT_DIR),
            dbt_executable=dbt_executable(settings),
        )
        arguments = ["build", *_selection(context), *_days(context, config)]
        invocation = dbt.cli(arguments, target_path=target, raise_on_error=False)
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


def _selection(context: AssetExecutionContext) -> list[str]:
    """Return dbt's arguments for the selected models, and for checks that were selected alone."""
    models = context.selected_asset_keys
    names = {key.path[-1] for key in models} | {
        check.name for check in context.selected_asset_check_keys if check.asset_key not in models
    }
    # Cautious: a test of two models is not run where only one of them was built.
    return ["--select", " ".join(sorted(names)), "--indirect-selection", "cautious"]


def _days(context: AssetExecutionContext, config: BuildConfig) -> list[str]:
    """Return dbt's arguments for the days to build."""
    if config.full_refresh:
        return ["--full-refresh"]
    if not (context.has_partition_key or context.has_partition_key_range):
        return []
    days = context.partition_key_range
    return ["--vars", json.dumps({"first_day": days.start, "last_day": days.end})]


@contextmanager
def _environment(told: Mapping[str, str]) -> Iterator[None]:
    """Set variables for dbt, which is another process, and for what of it runs in this one."""
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
    description="Builds the marts of the partitions' days, and the report of all of them.",
    executor_def=in_process_executor,
)
