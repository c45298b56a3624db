"""The parts of one platform: embedded servers where the settings name no other."""

from dataclasses import dataclass
from pathlib import Path

from contracts.broker_access import BrokerAccess
from contracts.settings import (
    CONFIG_VARIABLE,
    Settings,
    config_file,
    database_beside,
    with_psycopg,
)
from sluice.endpoints import Endpoints
from sluice.servers.broker_tls import prepare_broker_tls
from sluice.servers.credentials import Credentials, load_or_create_credentials
from sluice.servers.nats import EmbeddedNats, prepare_nkeys
from sluice.servers.postgres import EmbeddedPostgres

PLATFORM_DATABASE = "sluice"


@dataclass(frozen=True)
class Stack:
    """The parts of one platform: embedded where the settings name no server."""

    settings: Settings
    data_dir: Path
    credentials: Credentials
    postgres: EmbeddedPostgres | None
    nats: EmbeddedNats | None

    @classmethod
    def of_settings(cls, settings: Settings) -> "Stack":
        """Make the files that the embedded servers need, where they are missing.

        Raises:
            BrokerTlsError, NotAnNkeySeed: files of the embedded broker cannot be used.
        """
        data_dir = settings.data_dir.resolve()
        data_dir.mkdir(parents=True, exist_ok=True)
        credentials = load_or_create_credentials(data_dir / "credentials.json")
        postgres = nats = None
        if settings.postgres.url is None:
            postgres = EmbeddedPostgres(
                data_dir / "postgres",
                settings.postgres.port,
                credentials.postgres,
                host=settings.postgres.host,
            )
        if settings.nats.url is None:
            folder, has_nkeys = data_dir / "nats", settings.nats.users == "nkey"
            nats = EmbeddedNats(
                folder,
                settings.nats.port,
                settings.nats.monitor_port,
                credentials,
                host=settings.nats.host,
                tls=prepare_broker_tls(settings.nats, folder / "tls"),
                nkey_seeds=prepare_nkeys(folder / "nkeys") if has_nkeys else None,
            )
        return cls(settings, data_dir, credentials, postgres, nats)

    @property
    def database_url(self) -> str:
        if self.postgres is None:
            return self.settings.database_url
        return self.postgres.url(PLATFORM_DATABASE)

    @property
    def sqlalchemy_url(self) -> str:
        return with_psycopg(self.database_url)

    @property
    def has_own_encoder(self) -> bool:
        """Whether an encoder is run here, rather than none or another's used."""
        return self.settings.encoder.enabled and self.settings.encoder.url is None

    def broker(self, user: str) -> BrokerAccess:
        """Return how `user` reaches the broker; another's knows one user, the settings'."""
        return self.settings.broker if self.nats is None else self.nats.access(user)

    @property
    def endpoints(self) -> Endpoints:
        return Endpoints.of_settings(
            self.settings, broker=self.broker("admin"), postgres=self.database_url
        )

    def wanted_ports(self) -> dict[str, tuple[str, int]]:
        """Setting → address that this platform is going to listen on."""
        settings = self.settings
        wanted = {
            "gateway.port": (settings.gateway.host, settings.gateway.port),
            "dagster.port": ("127.0.0.1", settings.dagster.port),
        }
        if self.has_own_encoder:
            encoder = settings.encoder
            wanted["encoder.port"] = (encoder.host, encoder.port)
            wanted["encoder.grpc_port"] = (encoder.host, encoder.grpc_port)
        if self.nats is not None:
            wanted["nats.port"] = (settings.nats.host, settings.nats.port)
            wanted["nats.monitor_port"] = ("127.0.0.1", settings.nats.monitor_port)
        if self.postgres is not None:
            wanted["postgres.port"] = (settings.postgres.host, settings.postgres.port)
        return wanted

    def environment(self, nats_user: str) -> dict[str, str]:
        """Settings of a child process, as the environment variables it reads them from."""
        return {
            **self.base_environment(),
            "SLUICE_POSTGRES_URL": self.database_url,
            **_broker_environment(self.broker(nats_user)),
        }

    def base_environment(self) -> dict[str, str]:
        """Those of a child process that needs neither the store nor the broker."""
        environment = {"SLUICE_DATA_DIR": str(self.data_dir), "PYTHONUNBUFFERED": "1"}
        if (file := config_file()).is_file():
            environment[CONFIG_VARIABLE] = str(file.resolve())
        return environment

    @property
    def dagster_database_url(self) -> str:
        if self.settings.dagster.postgres_url is not None:
            return self.settings.dagster_database_url
        return database_beside(self.database_url, "dagster")

    def dagster_environment(self) -> dict[str, str]:
        return {
            **self.environment("dagster"),
            "SLUICE_DAGSTER_POSTGRES_URL": self.dagster_database_url,
        }


def _broker_environment(broker: BrokerAccess) -> dict[str, str]:
    return {
        "SLUICE_NATS_URL": broker.url,
        **{f"SLUICE_NATS_{name.upper()}": path for name, path in broker.paths.items()},
    }
