"""Executes a requested run as Dagster does: the real job, in a process of its own."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterEventType, DagsterInstance, RunRequest, RunsFilter

from benchmarks.figures import InvariantBroken, require
from sluice.servers.dagster import PROJECT_ROOT

_RUN_SECONDS = 180
_BENCHMARK_TAG = "sluice/benchmark_run"


@dataclass(frozen=True)
class RunTimes:
    """Seconds of one run."""

    process_seconds: float
    """From the start of its process to its end."""
    batch_seconds: float
    """Within the run, from the start of the asset's step to its materialization: read, COPY,
    commit, acknowledge, and the metadata with its preview."""


def execute_run(
    instance: DagsterInstance, request: RunRequest, folder: Path, *, name: str
) -> RunTimes:
    """Execute `request` by `dagster job execute` and read its times from Dagster's event log.

    The settings are those of this process's environment.

    Raises:
        InvariantBroken: the run failed.
    """
    config_file = folder / f"{name}.json"
    config_file.write_text(json.dumps(request.run_config))
    tags = {**request.tags, _BENCHMARK_TAG: name}
    started = time.perf_counter()
    result = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "job", "execute"),
            *("-f", str(PROJECT_ROOT / "platform" / "definitions.py")),
            *("-d", str(PROJECT_ROOT)),
            *("-j", request.job_name or ""),
            *("-c", str(config_file)),
            *("--tags", json.dumps(tags)),
        ],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    process_seconds = time.perf_counter() - started
    require(result.returncode == 0, f"the run failed:\n{result.stderr[-3000:]}")
    return RunTimes(process_seconds, _batch_seconds(instance, name))


def _batch_seconds(instance: DagsterInstance, name: str) -> float:
    records = instance.get_run_records(RunsFilter(tags={_BENCHMARK_TAG: name}), limit=1)
    if not records:
        raise InvariantBroken(f"Dagster knows of no run {name!r}")
    moments = {
        entry.get_dagster_event().event_type: entry.timestamp
        for entry in instance.all_logs(
            records[0].dagster_run.run_id,
            of_type={DagsterEventType.STEP_START, DagsterEventType.ASSET_MATERIALIZATION},
        )
    }
    return moments[DagsterEventType.ASSET_MATERIALIZATION] - moments[DagsterEventType.STEP_START]
