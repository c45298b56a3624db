"""The lake on a real Nessie, a real S3 server and, where a test asks, a real Trino."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.lake import LakeResource
from resources.postgres import PostgresResource
from sluice.databases import ensure_database
from sluice.devstack.secret_files import S3_ACCESS_KEY
from sluice.servers.postgres import EmbeddedPostgres
from tests.support.ports import free_port
from tests.support.processes import RestartableServer, running
from tests.support.scale_servers import (
    S3_BUCKET,
    S3_SECRET_KEY,
    nessie_server,
    s3_server,
    trino_server,
)


@dataclass(frozen=True)
class ScaleServers:
    """The servers, their ports, and where they keep their files."""

    folder: Path
    s3_port: int
    nessie_port: int
    nessie_management_port: int
    s3: RestartableServer
    nessie: RestartableServer

    @property
    def warehouse(self) -> Path:
        """The S3 server's bucket: its objects are files there."""
        return self.folder / "s3" / S3_BUCKET


@pytest.fixture(scope="package")
def scale_servers(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres
) -> Iterator[ScaleServers]:
    folder = tmp_path_factory.mktemp("scale")
    ensure_database(postgres_server.url("postgres"), "nessie")
    s3_port, nessie_port, management_port = free_port(), free_port(), free_port()
    with (
        RestartableServer(s3_server(folder / "s3", s3_port), log=folder / "s3.log") as s3,
        RestartableServer(
            nessie_server(
                folder / "nessie", nessie_port, management_port, s3_port, postgres_server
            ),
            log=folder / "nessie.log",
        ) as nessie,
    ):
        yield ScaleServers(folder, s3_port, nessie_port, management_port, s3, nessie)


@pytest.fixture(scope="package")
def trino_port(scale_servers: ScaleServers) -> Iterator[int]:
    port = free_port()
    spec = trino_server(
        scale_servers.folder / "trino", port, scale_servers.nessie_port, scale_servers.s3_port
    )
    with running(spec, log=scale_servers.folder / "trino.log"):
        yield port


@pytest.fixture
def postgres(database_url: str) -> PostgresResource:
    return PostgresResource(url=database_url)


@pytest.fixture
def lake(
    scale_servers: ScaleServers,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> LakeResource:
    """The lake in Nessie, emptied of what the test before left."""
    settings = {
        "SLUICE_DATA_DIR": str(tmp_path),
        "SLUICE_LAKE_CATALOG": "nessie",
        "SLUICE_LAKE_NESSIE_URL": f"http://127.0.0.1:{scale_servers.nessie_port}",
        "SLUICE_LAKE_S3_ENDPOINT": f"http://127.0.0.1:{scale_servers.s3_port}",
        "SLUICE_LAKE_S3_ACCESS_KEY": S3_ACCESS_KEY,
        "SLUICE_LAKE_S3_SECRET_KEY": S3_SECRET_KEY,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    lake = LakeResource(database_url=database_url)
    for branch in lake.branches.find_all():
        if branch.name != "main":
            lake.branches.delete(branch)
    with lake.open() as catalog:
        for namespace in catalog.list_namespaces():
            for table in catalog.list_tables(namespace):
                catalog.drop_table(table)
    return lake
