"""The real PostgreSQL and nats-server below a benchmark, configured as they are shipped."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.settings import PipelineSettings, with_psycopg
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats
from sluice.servers.postgres import EmbeddedPostgres
from sluice.streams import apply_streams
from tests.support.ports import free_port
from tests.support.processes import running

_DATABASE = "sluice"


@dataclass(frozen=True)
class PlatformServers:
    """A migrated, empty database and a broker with the platform's streams and consumers."""

    postgres: EmbeddedPostgres
    nats: EmbeddedNats

    @property
    def database_url(self) -> str:
        return self.postgres.url(_DATABASE)

    def settings_for(self, nats_user: str, folder: Path) -> dict[str, str]:
        """Return the environment variables of a process that works as `nats_user`."""
        return {
            "SLUICE_DATA_DIR": str(folder),
            "SLUICE_POSTGRES_URL": self.database_url,
            "SLUICE_NATS_URL": self.nats.url(nats_user),
        }


@contextmanager
def running_platform_servers(folder: Path) -> Iterator[PlatformServers]:
    """Start both servers with their data in `folder`; stop them at the end."""
    credentials = load_or_create_credentials(folder / "credentials.json")
    postgres = EmbeddedPostgres(folder / "postgres", free_port(), credentials.postgres)
    postgres.initialise()
    nats = EmbeddedNats(folder / "nats", free_port(), free_port(), credentials)
    nats.write_configuration()
    servers = PlatformServers(postgres, nats)
    with (
        running(postgres.process(), log=folder / "postgres.log"),
        running(nats.process(), log=folder / "nats.log"),
    ):
        ensure_database(postgres.url("postgres"), _DATABASE)
        migrate(with_psycopg(servers.database_url))
        asyncio.run(apply_streams(nats.url("admin"), PipelineSettings()))
        yield servers
