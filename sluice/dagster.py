"""The commands `sluice dagster`: Dagster's processes one by one, as containers run them.

`sluice dev` runs the same processes (`sluice.servers.dagster`) under its supervisor.
"""

import os
from typing import NoReturn

import click

from contracts.settings import Settings
from sluice.servers.dagster import DagsterServers
from sluice.servers.spec import ProcessSpec
from sluice.with_settings import with_settings

CODE_PORT = 4000

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="To listen on.")
code_option = click.option(
    "--code-host",
    default="127.0.0.1",
    show_default=True,
    help="Where the code location answers.",
)
code_port_option = click.option(
    "--code-port", default=CODE_PORT, show_default=True, type=click.IntRange(1, 65535)
)


@click.group()
def dagster() -> None:
    """Dagster's processes, one by one. `prepare` comes before the others."""


@dagster.command()
@code_option
@code_port_option
@with_settings
def prepare(settings: Settings, code_host: str, code_port: int) -> None:
    """Make Dagster's database and home, and migrate its storage; safe to repeat."""
    import psycopg

    from sluice.databases import ensure_database
    from sluice.servers.dagster import DagsterSetupError

    try:
        if settings.dagster.postgres_url is None:
            ensure_database(settings.database_url, "dagster")
        _servers(settings, code_host=code_host, code_port=code_port).prepare()
    except (DagsterSetupError, psycopg.Error) as error:
        raise click.ClickException(str(error)) from error


@dagster.command()
@host_option
@code_port_option
@with_settings
def code(settings: Settings, host: str, code_port: int) -> None:
    """Serve the definitions; runs are processes of this one."""
    _become(_servers(settings, host=host, code_port=code_port).code_location())


@dagster.command()
@host_option
@with_settings
def web(settings: Settings, host: str) -> None:
    """Serve the UI and the GraphQL API."""
    _become(_servers(settings, host=host).webserver())


@dagster.command()
@with_settings
def daemon(settings: Settings) -> None:
    """Evaluate sensors and schedules, and launch runs."""
    _become(_servers(settings).daemon())


@dagster.command("check-daemon")
@with_settings
def check_daemon(settings: Settings) -> None:
    """Exit with 0 if the daemon has reported within the last minute."""
    import asyncio

    from sluice.servers.spec import NotReady

    try:
        asyncio.run(_servers(settings).daemon().probe())
    except NotReady as reason:
        raise click.ClickException(str(reason)) from reason


def _servers(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    code_host: str = "127.0.0.1",
    code_port: int = CODE_PORT,
) -> DagsterServers:
    home = settings.data_dir.resolve() / "dagster"
    storage_url = settings.dagster_database_url
    return DagsterServers(
        home=home,
        port=settings.dagster.port,
        storage_url=storage_url,
        code_port=code_port,
        environment={
            **os.environ,
            "DAGSTER_HOME": str(home),
            "SLUICE_DATA_DIR": str(settings.data_dir.resolve()),
            "SLUICE_DAGSTER_POSTGRES_URL": storage_url,
        },
        host=host,
        code_host=code_host,
    )


def _become(process: ProcessSpec) -> NoReturn:
    """Replace this process, so that signals and the exit code are Dagster's."""
    os.chdir(process.working_dir)
    os.execve(process.command[0], process.command, dict(process.environment))  # noqa: S606
