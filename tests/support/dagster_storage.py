"""A Dagster instance on PostgreSQL, as `dagster.yaml` sets it up."""

from pathlib import Path
from uuid import uuid4

from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef

from resources.dagster_storage import PooledPostgresStorage
from sluice.databases import ensure_database
from sluice.servers.postgres import EmbeddedPostgres


def new_storage(server: EmbeddedPostgres) -> str:
    """Return the libpq URL of an empty database: Dagster's tables go into one of their own."""
    name = f"dagster_{uuid4().hex}"
    ensure_database(server.url("postgres"), name)
    return server.url(name)


def instance_on(storage_url: str, folder: Path) -> DagsterInstance:
    """Return an instance with its storage there and its files in `folder`."""
    storage = {
        "custom": {
            "module": PooledPostgresStorage.__module__,
            "class": PooledPostgresStorage.__name__,
            "config": {"postgres_url": storage_url},
        }
    }
    return DagsterInstance.from_ref(
        InstanceRef.from_dir(str(folder), overrides={"storage": storage})
    )
