"""The commands `sluice devstack`."""

from pathlib import Path

import click


@click.group()
def devstack() -> None:
    """Files that the containers of platform/devstack need."""


@devstack.command()
@click.argument(
    "folder",
    default="platform/devstack/secrets",
    type=click.Path(file_okay=False, path_type=Path),
)
def secrets(folder: Path) -> None:
    """Make the secrets that FOLDER lacks; those that are there stay."""
    from sluice.devstack.secret_files import write_secret_files

    try:
        written = write_secret_files(folder)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    for file in written:
        click.echo(f"written: {file}")
    if not written:
        click.echo(f"{folder} has all secrets")


@devstack.command("nats-conf")
def nats_conf() -> None:
    """Print the broker's configuration, for platform/devstack/nats/nats.conf."""
    from sluice.devstack.broker_configuration import server_configuration

    click.echo(server_configuration(), nl=False)


@devstack.command("nats-values")
def nats_values() -> None:
    """Print the NATS chart's values, for platform/kubernetes/values/nats.yaml."""
    from sluice.devstack.broker_chart import chart_values

    click.echo(chart_values(), nl=False)
