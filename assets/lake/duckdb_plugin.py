"""A plugin of dbt-duckdb: the lake's tables as views in DuckDB, without its Iceberg extension."""

from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin

from assets.lake.duckdb_views import create_lake_views
from resources.lake import LakeResource


class Plugin(BasePlugin):
    """Makes the views anew with each connection, of what the lake has then."""

    def configure_connection(self, conn: Any) -> None:
        """Make the views, of the lake that the settings name."""
        with LakeResource().open() as catalog:
            create_lake_views(conn, catalog)
