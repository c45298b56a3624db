"""What every run imports, loaded once: the code server's runs are forks of this module's process.

Imported by nobody but the fork server. Nothing here may open a connection or start a thread: a
fork takes neither along.
"""

import gc
import importlib
import os
import runpy
from pathlib import Path

from contracts.child_processes import end_with_parent

DEFINITIONS = Path(__file__).resolve().parents[2] / "platform" / "definitions.py"

_USED_BY_RUNS = (
    "asyncio",
    "dagster._core.execution.plan.execute_plan",
    "dagster._grpc.impl",
    "dagster._loggers",
    "nats.aio.client",
    "psycopg",
    "pgvector.psycopg",
    "resources.dagster_storage",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "uvloop",
)
"""Imported by a run at the earliest when it needs them."""


class TemplateHasThreads(RuntimeError):
    """An import has started a thread, of which a fork would only inherit the locks."""


def load() -> None:
    """Import the definitions and what their runs use.

    Raises:
        TemplateHasThreads: forks of this process would not be safe.
    """
    for name in _USED_BY_RUNS:
        importlib.import_module(name)
    runpy.run_path(str(DEFINITIONS))["defs"].get_repository_def().load_all_definitions()
    tasks = Path("/proc/self/task")
    threads = len(list(tasks.iterdir())) if tasks.is_dir() else 1
    if threads != 1:
        raise TemplateHasThreads(f"{threads} threads after the imports")
    # Dagster takes a run for dead when the template is: let it be so.
    os.register_at_fork(after_in_child=end_with_parent)
    # The objects of the imports stay as long as the process: a run's collector passes them by,
    # and their pages stay shared.
    gc.collect()
    gc.freeze()


load()
