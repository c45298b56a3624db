"""The platform's one settings object: environment over `sluice.toml` over defaults.

A setting `port` in the table `[gateway]` is the environment variable `SLUICE_GATEWAY_PORT`.
`SLUICE_CONFIG` names another file than `./sluice.toml`. `DATABASE_URL` and `NATS_URL` are
understood too. An unknown key in the file is refused.
"""

from contracts.settings.all_settings import (
    CONFIG_VARIABLE,
    DEFAULT_CONFIG_FILE,
    Settings,
    config_file,
)
from contracts.settings.backends import Api, BackendSettings
from contracts.settings.database_urls import database_beside, with_liveness, with_psycopg
from contracts.settings.gateway import (
    GatewaySettings,
    ResponsesSettings,
    RetrievalSettings,
    RoutingSettings,
    SpoolSettings,
)
from contracts.settings.lake import LakeSettings
from contracts.settings.loading import SettingsError, load_settings
from contracts.settings.pipeline import PipelineSettings, RetentionSettings
from contracts.settings.servers import (
    DagsterSettings,
    EncoderSettings,
    NatsSettings,
    PostgresSettings,
)
from contracts.settings.telemetry import TelemetrySettings

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_CONFIG_FILE",
    "Api",
    "BackendSettings",
    "DagsterSettings",
    "EncoderSettings",
    "GatewaySettings",
    "LakeSettings",
    "NatsSettings",
    "PipelineSettings",
    "PostgresSettings",
    "ResponsesSettings",
    "RetentionSettings",
    "RetrievalSettings",
    "RoutingSettings",
    "Settings",
    "SettingsError",
    "SpoolSettings",
    "TelemetrySettings",
    "config_file",
    "database_beside",
    "load_settings",
    "with_liveness",
    "with_psycopg",
]
