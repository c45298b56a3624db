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
from resources import dagster_storage

DEFINITIONS = Path(__file__).resolve().parents[3] / "platform" / "definitions.py"

_USED_BY_RUNS = (
    "asyncio",
    "dagster._core.execution.plan.active",
    "dagster._core.execution.plan.execute_plan",
    "dagster._core.storage.defs_state.blob_storage_state_storage",
    "dagster._grpc.impl",
    "dagster._loggers",
    "nats.aio.client",
    "psycopg",
    "psycopg2.extras",
    "pgvector.psycopg",
    "pyarrow.parquet",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "upath.implementations.local",
    "uvloop",
)
"""Imported by a run at the earliest when it needs them."""

_WITHOUT_THREADS = {
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment for the imports: pyarrow's allocator and numpy's algebra would start threads."""


class TemplateHasThreads(RuntimeError):
    """An import has started a thread, of which a fork would only inherit the locks."""


def load() -> None:
    """Import the definitions and what their runs use.

    Raises:
        TemplateHasThreads: forks of this process would not be safe.
    """
    environment = dict(os.environ)
    os.environ.update(_WITHOUT_THREADS)
    for name in _USED_BY_RUNS:
        importlib.import_module(name)
    runpy.run_path(str(DEFINITIONS))["defs"].get_repository_def().load_all_definitions()
    for name in _WITHOUT_THREADS:
        del os.environ[name]
    os.environ.update(environment)
    # Whoever launches a run has written it into them.
    dagster_storage.expect_tables()
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
