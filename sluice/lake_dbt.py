"""The commands `sluice lake dbt` and `sluice lake docs`: dbt, told where the lake and marts are."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from contracts.settings import Settings
from sluice.with_settings import with_settings


@click.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    options_metavar="",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="DBT_ARGUMENTS...")
@with_settings
def dbt(settings: Settings, arguments: Sequence[str]) -> None:
    """Run dbt over the lake: `sluice lake dbt source freshness`, `… build --full-refresh`.

    It waits while Dagster builds the marts. The exit code is dbt's.
    """
    sys.exit(_run_dbt(settings, arguments))


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page. Default: `lake/dbt-docs.html` in the data folder.",
)
@with_settings
def docs(settings: Settings, output: Path | None) -> None:
    """Write dbt's documentation of the lake: tables, columns, tests, lineage. One file, to open."""
    # dbt takes a relative path to be one in its project.
    target = settings.data_dir.absolute() / "lake" / "dbt" / "docs"
    code = _run_dbt(settings, ["docs", "generate", "--static", "--target-path", str(target)])
    if code != 0:
        raise click.ClickException("dbt could not generate the documentation")
    page = output or settings.data_dir / "lake" / "dbt-docs.html"
    (target / "static_index.html").replace(page)
    click.echo(f"open {page.absolute().as_uri()}")


def _run_dbt(settings: Settings, arguments: Sequence[str]) -> int:
    from assets.lake.dbt_command import dbt_environment, dbt_executable, hold_marts
    from resources.lake import LakeResource
    from resources.postgres import LockIsHeld, PostgresResource
    from sluice.endpoints import find_endpoints

    url = find_endpoints(settings).postgres
    lake = LakeResource(database_url=url)
    try:
        with hold_marts(settings, PostgresResource(url=url)):
            return subprocess.call(  # noqa: S603  # what the caller gave, without a shell
                [dbt_executable(settings), *arguments],
                env=os.environ | dbt_environment(settings, lake) | _own_folders(settings),
            )
    except LockIsHeld as error:
        raise click.ClickException(str(error)) from error
    except FileNotFoundError as error:
        raise click.ClickException(
            f"there is no {error.filename}: `dbt_executable` in [lake]"
        ) from error


def _own_folders(settings: Settings) -> dict[str, str]:
    """Keep what dbt writes out of the checkout, unless its own variables say where it goes."""
    folder = settings.data_dir.absolute() / "lake" / "dbt" / "by-hand"
    return {name: os.environ.get(name, str(folder)) for name in ("DBT_TARGET_PATH", "DBT_LOG_PATH")}
