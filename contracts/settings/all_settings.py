"""The sections together, and where they are read from."""

import os
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contracts.broker_access import BrokerAccess
from contracts.settings.backends import BackendSettings
from contracts.settings.database_urls import database_beside, with_liveness, with_psycopg
from contracts.settings.gateway import (
    GatewaySettings,
    ResponsesSettings,
    RetrievalSettings,
    RoutingSettings,
    SpoolSettings,
)
from contracts.settings.lake import LakeSettings
from contracts.settings.pipeline import PipelineSettings, RetentionSettings
from contracts.settings.servers import (
    DagsterSettings,
    EncoderSettings,
    NatsSettings,
    PostgresSettings,
)
from contracts.settings.telemetry import TelemetrySettings

CONFIG_VARIABLE = "SLUICE_CONFIG"
DEFAULT_CONFIG_FILE = "sluice.toml"


class Settings(BaseSettings):
    """All settings of the platform."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="forbid",
        frozen=True,
    )

    data_dir: Path = Field(default=Path(".sluice"), description="Data of the embedded servers.")
    gateway: GatewaySettings = GatewaySettings()
    spool: SpoolSettings = SpoolSettings()
    backends: tuple[BackendSettings, ...] = ()
    routing: RoutingSettings = RoutingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    responses: ResponsesSettings = ResponsesSettings()
    encoder: EncoderSettings = EncoderSettings()
    nats: NatsSettings = NatsSettings()
    postgres: PostgresSettings = PostgresSettings()
    dagster: DagsterSettings = DagsterSettings()
    pipeline: PipelineSettings = PipelineSettings()
    retention: RetentionSettings = RetentionSettings()
    lake: LakeSettings = LakeSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @field_validator("backends")
    @classmethod
    def _check_backends(cls, backends: tuple[BackendSettings, ...]) -> tuple[BackendSettings, ...]:
        names = [backend.name for backend in backends]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{names.count(name)} backends have the name {name!r}")
        return backends

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            env_settings,
            TomlConfigSettingsSource(settings_cls, toml_file=config_file()),
        )

    @property
    def nats_url(self) -> str:
        """The broker's URL, credentials included where the setting has them."""
        if self.nats.url is not None:
            return self.nats.url.get_secret_value()
        return f"nats://127.0.0.1:{self.nats.port}"

    @property
    def broker(self) -> BrokerAccess:
        """How this process reaches the broker."""
        nats = self.nats
        return BrokerAccess(
            self.nats_url,
            tls_ca=nats.tls_ca,
            client_certificate=nats.client_certificate,
            client_key=nats.client_key,
            nkey_seed=nats.nkey_seed,
        )

    @property
    def database_url(self) -> str:
        """The platform database as a libpq URL (`postgresql://…`)."""
        if self.postgres.url is not None:
            return with_liveness(self.postgres.url.get_secret_value())
        return f"postgresql://sluice@127.0.0.1:{self.postgres.port}/sluice"

    @property
    def sqlalchemy_url(self) -> str:
        """`database_url` for SQLAlchemy."""
        return with_psycopg(self.database_url)

    @property
    def dagster_database_url(self) -> str:
        """The database of Dagster's own storage as a libpq URL."""
        if self.dagster.postgres_url is not None:
            return with_liveness(self.dagster.postgres_url.get_secret_value())
        return database_beside(self.database_url, "dagster")

    @property
    def keys_file(self) -> Path:
        """Where the gateway's API keys are kept."""
        return self.gateway.keys_file or self.data_dir / "keys.json"

    @property
    def models_dir(self) -> Path:
        """Where models are kept that were built here."""
        return self.data_dir / "models"

    @property
    def spool_dir(self) -> Path:
        """Where events wait for the broker."""
        return self.spool.dir or self.data_dir / "spool"

    @property
    def dataset_dir(self) -> Path:
        return self.pipeline.dataset_dir or self.data_dir / "datasets"

    @property
    def warehouse(self) -> str:
        """Where the lake's data files go, as a URI."""
        location = self.lake.warehouse or str((self.data_dir / "lake").resolve())
        return f"file://{location}" if location.startswith("/") else location


def config_file() -> Path:
    """Return the file that the settings are read from, whether it exists or not."""
    return Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG_FILE))
