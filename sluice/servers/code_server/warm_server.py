"""The code server, whose runs are forks of a process that has imported what they use.

`dagster api grpc` starts a fresh Python for every run, which imports Dagster and the definitions
for two to four seconds of processor time before the run's first statement. Here a template
process has imported them once, and a run is a fork of it
(https://docs.python.org/3.11/library/multiprocessing.html#contexts-and-start-methods). Everything
else is Dagster's own: the run launcher, how a run is terminated, how a dead worker is found.

The template has one thread and no connection; what a run opens, it opens after the fork. Should
the template die, the next run starts another.
"""

import logging
import multiprocessing
import sys
import threading
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

import click
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import FuturesAwareThreadPoolExecutor
from dagster._grpc.server import DagsterApiServer, DagsterGrpcServer
from dagster._utils.interrupts import setup_interrupt_handlers
from dagster._utils.log import configure_loggers

_TEMPLATE = "sluice.servers.code_server.run_template"


class WarmApiServer(DagsterApiServer):
    """A code server whose runs are forked from `_TEMPLATE`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_TEMPLATE])
        self._mp_ctx: BaseContext = context  # type: ignore[assignment]  # Dagster's is "spawn"
        # Now rather than with the first run.
        forkserver.ensure_running()


@click.command()
@click.option("--python-file", required=True)
@click.option("--working-directory", required=True)
@click.option("--location-name", required=True)
@click.option("--host", default="127.0.0.1")
@click.option("--port", type=int, required=True)
def main(
    python_file: str, working_directory: str, location_name: str, host: str, port: int
) -> None:
    """Serve the definitions of PYTHON_FILE; the options are those of `dagster api grpc`."""
    setup_interrupt_handlers()
    configure_loggers()
    logger = logging.getLogger("dagster.code_server")
    termination = threading.Event()
    executor = FuturesAwareThreadPoolExecutor(max_workers=None)
    logger.info("Starting the code server on port %d", port)
    servicer = WarmApiServer(
        server_termination_event=termination,
        logger=logger,
        server_threadpool_executor=executor,
        loadable_target_origin=LoadableTargetOrigin(
            executable_path=sys.executable,
            working_directory=working_directory,
            python_file=python_file,
        ),
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
        location_name=location_name,
    )
    server = DagsterGrpcServer(
        server_termination_event=termination,
        dagster_api_servicer=servicer,
        logger=logger,
        threadpool_executor=executor,
        host=host,
        port=port,
    )
    logger.info("Started the code server on port %d", port)
    try:
        server.serve()  # type: ignore[no-untyped-call]
    except KeyboardInterrupt:
        logger.info("The code server was interrupted")
