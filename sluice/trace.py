"""The command `sluice trace`."""

import sys
from typing import TYPE_CHECKING

import click

from contracts.settings import Settings
from sluice.with_settings import with_settings

if TYPE_CHECKING:
    from sluice.request_story import StoredEvent


@click.command()
@click.argument("correlation_id")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@with_settings
def trace(settings: Settings, correlation_id: str, as_json: bool) -> None:
    """Show what became of one request: its events, errors, dead letters and runs.

    CORRELATION_ID is the answer's header X-Correlation-ID. Exit code 1 where nothing is stored.
    """
    import msgspec
    from sqlalchemy.exc import SQLAlchemyError

    from resources.postgres import PostgresResource
    from sluice.dagster_api import RunFailed
    from sluice.endpoints import find_endpoints
    from sluice.request_story import find_story, with_runs

    endpoints = find_endpoints(settings)
    try:
        events = find_story(PostgresResource(url=endpoints.postgres), correlation_id)
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database failed: {error}") from error
    try:
        events = with_runs(events, endpoints.dagster)
    except RunFailed as error:
        click.echo(f"without runs: {error}", err=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(events)))
    else:
        _print(events, correlation_id)
    if not events:
        sys.exit(1)


def _print(events: "list[StoredEvent]", correlation_id: str) -> None:
    from rich.console import Console
    from rich.table import Table

    if not events:
        click.echo(
            f"nothing is stored of {correlation_id}: it is unknown, erased, or a minute old;"
            " `sluice status` tells whether the pipeline runs",
            err=True,
        )
        return
    table = Table("at", "event", "what", "error")
    for each in events:
        details = ", ".join(f"{name} {value}" for name, value in each.details.items())
        table.add_row(f"{each.at:%H:%M:%S.%f}"[:-3], each.what, details, each.error or "")
    Console().print(table)
    for run in dict.fromkeys(each.run for each in events if each.run is not None):
        click.echo(run)
