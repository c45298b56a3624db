"""The commands `sluice backup` and `sluice restore`."""

import asyncio
from pathlib import Path

import click

from contracts.settings import Settings
from sluice.with_settings import with_settings


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@with_settings
def backup(settings: Settings, folder: Path) -> None:
    """Save everything that the running platform keeps into DIR, without stopping it.

    The backup holds passwords, keys and what was asked and answered: keep it as safe as the
    platform.
    """
    from sluice.backup.create import create_backup
    from sluice.backup.manifest import BackupError
    from sluice.stack import Stack

    try:
        stack = Stack.of_settings(settings)
        manifest = asyncio.run(create_backup(stack, folder.resolve(), _say))
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    seconds = (manifest.finished_at - manifest.created_at).total_seconds()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    click.echo(f"saved to {folder} in {seconds:.1f} s, {size / 2**20:.0f} MiB")


@click.command()
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR"
)
@click.option("--replace", is_flag=True, help="Move what is in the data directory aside.")
@click.option("--verify-only", is_flag=True, help="Look whether the backup is whole, and end.")
@with_settings
def restore(settings: Settings, folder: Path, replace: bool, verify_only: bool) -> None:
    """Make the platform's data directory from the backup in DIR. The platform must not run."""
    from sluice.backup.manifest import BackupError
    from sluice.backup.restore import restore_backup, verify_backup

    try:
        if verify_only:
            manifest = verify_backup(folder)
        else:
            manifest = asyncio.run(
                restore_backup(settings, folder.resolve(), _say, replaces=replace)
            )
    except BackupError as error:
        raise click.ClickException(str(error)) from error
    verb = "whole" if verify_only else "restored"
    versions = ", ".join(f"{name} {each}" for name, each in manifest.versions.items())
    click.echo(f"{verb}: a backup of {manifest.created_at:%Y-%m-%d %H:%M:%S} UTC, by {versions}")


def _say(what: str) -> None:
    click.echo(f"{what} …")
