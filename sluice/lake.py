"""The command `sluice lake`: branches of the lake, and the lake as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from contracts.settings import Settings
from sluice.lake_dbt import dbt, docs
from sluice.with_settings import with_settings

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from resources.lake import LakeResource
    from resources.nessie import NessieBranches


@click.group()
def lake() -> None:
    """Look at the lake's branches, at the lake as it was, and at what dbt makes of it."""


lake.add_command(dbt)
lake.add_command(docs)


@lake.command()
@with_settings
def branches(settings: Settings) -> None:
    """List the branches: `main`, batches at work, and what failed its checks."""
    with _nessie(settings) as nessie:
        for branch in nessie.find_all():
            click.echo(f"{branch.name}\t{branch.hash}")


@lake.command()
@click.argument("branch")
@with_settings
def diff(settings: Settings, branch: str) -> None:
    """Show which tables BRANCH has otherwise than `main`."""
    with _nessie(settings) as nessie:
        for each in nessie.diff(branch):
            click.echo(f"{each.table}\t{each.change}")


@lake.command()
@click.argument("branch")
@with_settings
def merge(settings: Settings, branch: str) -> None:
    """Bring what BRANCH changed to `main`, and delete the branch.

    The branch of a batch that failed its checks says which rows it has, so once it is merged the
    next batch begins after them. If that one came first, the merge is refused.
    """
    with _nessie(settings) as nessie:
        source = nessie.get(branch)
        nessie.merge(source)
        nessie.delete(nessie.get(branch))
    click.echo(f"{branch} is merged")


@lake.command()
@click.argument("moment", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]))
@with_settings
def at(settings: Settings, moment: datetime) -> None:
    """Show what each table held at MOMENT (UTC): rows, and the snapshot to read it by.

    `gone`: the snapshot's files were deleted, for their age or to forget somebody.
    """
    from contracts.lake import LAKE_TABLES, NAMESPACE
    from resources.lake import LakeResource
    from sluice.endpoints import find_endpoints

    resource = LakeResource(database_url=find_endpoints(settings).postgres)
    with _catalog_at(resource, moment.replace(tzinfo=UTC)) as (catalog, snapshot_of):
        for table in LAKE_TABLES:
            if not catalog.table_exists((NAMESPACE, table.name)):
                continue
            iceberg = catalog.load_table((NAMESPACE, table.name))
            snapshot_id = snapshot_of(iceberg)
            if snapshot_id is None:
                continue
            try:
                files = list(iceberg.scan(snapshot_id=snapshot_id).plan_files())
            except FileNotFoundError:
                # Nessie keeps its commits for ever; the maintenance does not keep their files.
                click.echo(f"{table.name}\tgone\t{snapshot_id}")
                continue
            rows = sum(task.file.record_count for task in files)
            click.echo(f"{table.name}\t{rows}\t{snapshot_id}")


@contextmanager
def _catalog_at(
    resource: "LakeResource", moment: datetime
) -> "Iterator[tuple[Catalog, Callable[[Table], int | None]]]":
    """Yield the catalog, and what tells a table's snapshot of then; None where it had none."""
    from resources.nessie import NessieError

    def find_earlier(table: "Table") -> int | None:
        snapshot = table.snapshot_as_of_timestamp(int(moment.timestamp() * 1000))
        return None if snapshot is None else snapshot.snapshot_id

    def take_current(table: "Table") -> int | None:
        snapshot = table.current_snapshot()
        return None if snapshot is None else snapshot.snapshot_id

    if resource.is_embedded:
        with resource.open() as catalog:
            yield catalog, find_earlier
        return
    try:
        commit = resource.branches.commit_at(moment)
    except NessieError as error:
        raise click.ClickException(str(error)) from error
    with resource.open(f"{commit.name}@{commit.hash}") as catalog:
        yield catalog, take_current


@contextmanager
def _nessie(settings: Settings) -> "Iterator[NessieBranches]":
    from resources.nessie import NessieBranches, NessieError

    if settings.lake.catalog != "nessie":
        raise click.ClickException("only a lake in Nessie has branches: `catalog` in [lake]")
    try:
        yield NessieBranches(settings.lake.nessie_url)
    except NessieError as error:
        raise click.ClickException(str(error)) from error
