"""The Dagster resource for the lake's Iceberg catalog."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy
from dagster import ConfigurableResource
from pydantic import Field

from contracts.settings import load_settings, with_psycopg

if TYPE_CHECKING:
    # PyIceberg is for runs that use the lake: every run imports this module.
    from pyiceberg.catalog import Catalog

_SCHEMA = "iceberg"
"""Of the catalog's own tables in the platform's database; a migration makes it."""


class LakeResource(ConfigurableResource):  # type: ignore[type-arg]
    """The catalog of the lake's tables: by default in the platform's database."""

    database_url: str | None = Field(
        default=None, description="libpq URL. Default: the platform's settings."
    )
    warehouse: str | None = Field(
        default=None, description="URI of the data files' folder. Default: the settings."
    )

    @property
    def libpq_url(self) -> str:
        """URL of the database that the catalog is in, password included."""
        return self.database_url or load_settings().database_url

    @property
    def location(self) -> str:
        """URI of the data files' folder."""
        return self.warehouse or load_settings().warehouse

    @contextmanager
    def open(self) -> "Iterator[Catalog]":
        """Yield the catalog.

        Raises:
            sqlalchemy.exc.OperationalError: the database cannot be reached.
        """
        from pyiceberg.catalog.sql import SqlCatalog

        url = sqlalchemy.make_url(with_psycopg(self.libpq_url))
        catalog = SqlCatalog(
            "sluice",
            uri=url.update_query_dict(
                {"options": f"-csearch_path={_SCHEMA}", "application_name": "sluice-lake"}
            ).render_as_string(hide_password=False),
            warehouse=self.location,
        )
        try:
            yield catalog
        finally:
            catalog.close()
