"""The Dagster resource for the lake's Iceberg catalog: PostgreSQL's by default, or Nessie's."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy
from dagster import ConfigurableResource
from pydantic import Field

from contracts.lake import NAMESPACE
from contracts.settings import LakeSettings, load_settings, with_psycopg

if TYPE_CHECKING:
    # PyIceberg and requests are for runs that use the lake: every run imports this module.
    from pyiceberg.catalog import Catalog

    from resources.nessie import NessieBranches

_log = logging.getLogger(__name__)
_SCHEMA = "iceberg"
"""Of the catalog's own tables in the platform's database; a migration makes it."""
_MAIN = "main"


@dataclass
class Staging:
    """Where a batch commits, and how what it committed is published."""

    catalog: "Catalog"
    branches: "NessieBranches | None" = None
    branch: str = _MAIN
    kept_as: str | None = None
    """Name of the branch that was kept for inspection."""

    @property
    def is_public(self) -> bool:
        """Whether everybody sees what is committed at once."""
        return self.branches is None

    def publish(self) -> None:
        """Bring what was committed to everybody; where there are no branches, it is there.

        Raises:
            resources.nessie.MergeConflict: another batch came first; nothing was published.
        """
        if self.branches is not None:
            self.branches.merge(self.branches.get(self.branch))

    def keep(self) -> None:
        """Keep the branch, unpublished, for a person to look at."""
        if self.branches is not None:
            branch = self.branches.get(self.branch)
            self.kept_as = self.branch.replace("batch.", "failed.", 1)
            self.branches.create(self.kept_as, branch)


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]
    """The catalog of the lake's tables, as the settings have it."""

    database_url: str | None = Field(
        default=None, description="libpq URL. Default: the platform's settings."
    )
    warehouse: str | None = Field(
        default=None,
        description="URI of the embedded catalog's data files. Default: the settings.",
    )

    @property
    def libpq_url(self) -> str:
        """URL of the database that the embedded catalog is in, password included."""
        return self.database_url or load_settings().database_url

    @property
    def location(self) -> str:
        """URI of the folder of the embedded catalog's data files."""
        return self.warehouse or load_settings().warehouse

    @property
    def is_embedded(self) -> bool:
        return load_settings().lake.catalog == "embedded"

    @property
    def branches(self) -> "NessieBranches":
        """The branches of the settings' Nessie server."""
        from resources.nessie import NessieBranches

        return NessieBranches(load_settings().lake.nessie_url)

    @contextmanager
    def open(self, reference: str = _MAIN) -> "Iterator[Catalog]":
        """Yield the catalog.

        Args:
            reference: with Nessie, the branch, or `branch@hash` for a commit of it.

        Raises:
            sqlalchemy.exc.OperationalError: the database cannot be reached.
            requests.RequestException: Nessie cannot be reached.
        """
        catalog = (
            self._open_embedded()
            if self.is_embedded
            else _open_nessie(load_settings().lake, reference)
        )
        with closing(catalog):
            yield catalog

    @contextmanager
    def stage(self, table_name: str) -> Iterator[Staging]:
        """Yield where a batch of a table commits: with Nessie, on a branch of its own.

        The caller holds the table's lock, so a branch of an earlier batch is one that was killed,
        and goes. What is not published by the end is discarded.
        """
        if self.is_embedded:
            with self.open() as catalog:
                yield Staging(catalog)
            return
        with self.open() as catalog:
            # A branch of an empty `main` has nothing in common with it, and cannot be merged.
            catalog.create_namespace_if_not_exists(NAMESPACE)
        branches, prefix = self.branches, f"batch.{table_name}."
        for branch in branches.find_all():
            if branch.name.startswith(prefix):
                branches.delete(branch)
        branch = branches.create(f"{prefix}{uuid4().hex[:12]}", branches.get(_MAIN))
        try:
            with self.open(branch.name) as catalog:
                yield Staging(catalog, branches, branch.name)
        finally:
            _discard(branches, branch.name)

    def _open_embedded(self) -> "Catalog":
        from resources.embedded_catalog import EmbeddedCatalog

        url = sqlalchemy.make_url(with_psycopg(self.libpq_url))
        return EmbeddedCatalog(
            "sluice",
            uri=url.update_query_dict(
                {"options": f"-csearch_path={_SCHEMA}", "application_name": "sluice-lake"}
            ).render_as_string(hide_password=False),
            warehouse=self.location,
        )


def _discard(branches: "NessieBranches", name: str) -> None:
    """Delete the branch, or leave it for the table's next batch: why this one ends is the news."""
    from resources.nessie import NessieError

    try:
        branches.delete(branches.get(name))
    except NessieError as error:
        _log.warning("the branch %s is left for the next batch to delete: %s", name, error)


def _open_nessie(settings: LakeSettings, reference: str) -> "Catalog":
    from resources.nessie_catalog import NessieCatalog

    secret = settings.s3_secret_key
    storage = {
        "s3.endpoint": settings.s3_endpoint,
        "s3.region": settings.s3_region,
        "s3.access-key-id": settings.s3_access_key,
        "s3.secret-access-key": None if secret is None else secret.get_secret_value(),
    }
    return NessieCatalog(
        "sluice",
        uri=f"{settings.nessie_url}/iceberg/{reference}",
        warehouse=settings.nessie_warehouse,
        **{name: value for name, value in storage.items() if value is not None},
    )
