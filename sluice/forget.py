"""The command `sluice forget`."""

import click

from contracts.settings import Settings
from sluice.with_settings import with_settings

_JOB = "forget_subjects"


@click.command()
@click.option(
    "--correlation-id", "correlation_ids", multiple=True, help="Of a request; repeatable."
)
@click.option("--key", "key_names", multiple=True, help="Name of an API key; repeatable.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_settings
def forget(
    settings: Settings, correlation_ids: tuple[str, ...], key_names: tuple[str, ...], yes: bool
) -> None:
    """Erase all events of single requests, or of a caller's key, for good.

    They go from PostgreSQL and the datasets at once, and are marked for the lake.
    """
    from sluice.dagster_api import RunFailed, follow, launch
    from sluice.endpoints import find_endpoints

    if not correlation_ids and not key_names:
        raise click.UsageError("name a request by --correlation-id or a caller by --key")
    if not yes:
        click.confirm("this cannot be undone; go on?", abort=True)
    dagster_url = find_endpoints(settings).dagster
    config = {"correlation_ids": list(correlation_ids), "api_key_names": list(key_names)}
    try:
        run_id = launch(dagster_url, _JOB, {"ops": {"erased_subjects": {"config": config}}})
        (figures,) = follow(dagster_url, run_id)
    except RunFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{figures['rows_erased']} rows erased,"
        f" dataset files of {figures['dataset_days_rewritten']} days written anew"
    )
