"""How dbt is called: which program, where the lake and the marts are, who may write them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from assets.lake.dbt_project import DBT_DIR
from contracts.settings import Settings
from resources.lake import LakeResource
from resources.postgres import PostgresResource

_LOCK_SECONDS = 3600


def marts_file(settings: Settings) -> Path:
    """Return the DuckDB database of the marts, on an embedded lake."""
    return (settings.data_dir / "lake" / "analytics.duckdb").absolute()


def dbt_executable(settings: Settings) -> str:
    """Return the path of the dbt that the settings name; by default that of this environment."""
    return settings.lake.dbt_executable or str(Path(sys.executable).with_name("dbt"))


def dbt_environment(settings: Settings, lake: LakeResource) -> dict[str, str]:
    """Return the variables by which `dbt/profiles.yml` finds the lake and the marts."""
    trino = urlsplit(settings.lake.trino_url)
    return {
        "DBT_PROJECT_DIR": str(DBT_DIR),
        "DBT_PROFILES_DIR": str(DBT_DIR),
        "SLUICE_DBT_TARGET": "duckdb" if lake.is_embedded else "trino",
        "SLUICE_DBT_MARTS_FILE": str(marts_file(settings)),
        "SLUICE_DBT_TRINO_HOST": trino.hostname or "",
        "SLUICE_DBT_TRINO_PORT": str(trino.port),
        "SLUICE_DBT_TRINO_CATALOG": settings.lake.trino_catalog,
        "SLUICE_LAKE_WAREHOUSE": lake.location,
        "SLUICE_POSTGRES_URL": lake.libpq_url,
    }


@contextmanager
def hold_marts(settings: Settings, postgres: PostgresResource) -> Iterator[None]:
    """Be the one that reads or writes the marts: DuckDB lets one process into its file.

    Raises:
        resources.postgres.LockIsHeld: another was, for an hour.
    """
    marts_file(settings).parent.mkdir(parents=True, exist_ok=True)
    with postgres.hold_lock("lake marts", seconds=_LOCK_SECONDS):
        yield
