"""The platform's one settings object: environment over `sluice.toml` over defaults.

A setting `port` in the table `[gateway]` is the environment variable `SLUICE_GATEWAY_PORT`.
`SLUICE_CONFIG` names another file than `./sluice.toml`. `DATABASE_URL` and `NATS_URL` are
understood too. An unknown key in the file is refused.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contracts.broker_access import BrokerAccess

CONFIG_VARIABLE = "SLUICE_CONFIG"
DEFAULT_CONFIG_FILE = "sluice.toml"

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]

Api = Literal["chat", "messages", "responses", "embeddings"]
"""OpenAI's chat completions, Anthropic's messages, OpenAI's responses and embeddings."""

_SECRET_KEYS = {"api_key", "url", "postgres_url", "s3_secret_key"}
"""Never repeated in a complaint: a URL may hold a password."""

_DEFAULT_BACKEND_PORTS = {"vllm": 8000, "llamacpp": 8081, "lmstudio": 1234}


class SettingsError(Exception):
    """A setting is wrong; the message names the key, the value and what is allowed."""


def _strip_trailing_slash(url: str) -> str:
    return url.rstrip("/")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _read_secret(section: dict[str, Any], setting: str) -> str:
    """Return what the file that `setting` names holds, without the newline at its end."""
    file = Path(section[setting])
    try:
        secret = file.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{setting} = {str(file)!r} cannot be read: {error}") from error
    if not secret:
        raise ValueError(f"{setting} = {str(file)!r} is empty")
    return secret


class _ServerSection(_Section):
    """A server that a URL names, its password from the URL or from a file."""

    url: SecretStr | None = None
    password_file: Path | None = Field(
        default=None,
        description="File with the password of the user in `url`, where that has none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _put_password_into_url(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("password_file") is None:
            return section
        url = section.get("url")
        if isinstance(url, SecretStr):
            url = url.get_secret_value()
        parts = urlsplit(url or "")
        if not parts.username:
            raise ValueError("password_file needs a url that names the user")
        if parts.password is not None:
            return section
        user, _, address = parts.netloc.partition("@")
        password = quote(_read_secret(section, "password_file"), safe="")
        netloc = f"{user}:{password}@{address}"
        return {**section, "url": parts._replace(netloc=netloc).geturl()}


class BackendSettings(_Section):
    """One model server. `[[backends]]` in the file."""

    name: str = Field(min_length=1, description="Shown in events, logs and metrics.")
    kind: Literal["vllm", "llamacpp", "lmstudio", "openai"] = Field(
        description="`openai` is any other OpenAI-compatible server."
    )
    url: Annotated[str, AfterValidator(_strip_trailing_slash)] = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Without the `/v1`. Default: the kind's port on `$COMPUTE_HOST`.",
    )
    models: tuple[str, ...] = Field(
        default=(),
        description="Model names served here, `*` as a wildcard; empty: ask the server.",
    )
    aliases: dict[str, str] = Field(
        default={},
        description="Further names for models, each with the server's own name for it. A `*` in"
        " the name is a wildcard, and one in the server's name is what the wildcard stood for.",
    )
    apis: tuple[Api, ...] | None = Field(
        default=None,
        min_length=1,
        description="What the server speaks itself. Default: chat and embeddings, and what it is"
        " found to speak when it is asked.",
    )
    priority: int = Field(
        default=0,
        description="Of several backends for a model, those with a lower number come first.",
    )
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="Share of the requests among equal priorities."
    )
    max_concurrency: int | None = Field(
        default=None, ge=1, description="Requests it works on at once; default: without limit."
    )
    max_queued: int = Field(
        default=100, ge=0, le=100_000, description="Requests that wait for one of those to end."
    )
    queue_timeout_seconds: Seconds = Field(
        default=30.0, description="A request that has waited this long is refused."
    )
    api_key: SecretStr | None = Field(default=None, description="Sent as a bearer token.")
    context_length: int = Field(default=8192, ge=256, description="Tokens.")
    connect_timeout_seconds: Seconds = 5.0
    first_byte_timeout_seconds: Seconds = 300.0
    idle_timeout_seconds: Seconds = 120.0

    @property
    def base_url(self) -> str:
        """The server's address without a trailing slash or `/v1`."""
        if self.url:
            return self.url.removesuffix("/v1")
        host = os.environ.get("COMPUTE_HOST", "127.0.0.1")
        return f"http://{host}:{_DEFAULT_BACKEND_PORTS[self.kind]}"

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not all(models):
            raise ValueError("a model's name is empty")
        return models

    @field_validator("aliases")
    @classmethod
    def _check_aliases(cls, aliases: dict[str, str]) -> dict[str, str]:
        for alias, model in aliases.items():
            if not alias or not model:
                raise ValueError(f"{alias!r} = {model!r}: a name is empty")
            if alias == model:
                raise ValueError(f"{alias!r} is an alias of itself; list it in models")
            if "*" in model and (model.count("*") > 1 or alias.count("*") != 1):
                raise ValueError(
                    f"{alias!r} = {model!r}: a wildcard in the server's name needs exactly one in"
                    " the alias"
                )
        return aliases

    def model_post_init(self, _context: Any) -> None:
        if self.kind == "openai" and not self.url:
            raise ValueError(f"backend {self.name!r} of kind 'openai' needs a url")
        for alias in self.aliases:
            if alias in self.models:
                raise ValueError(f"backend {self.name!r} has {alias!r} in models and in aliases")
        if self.max_concurrency is None:
            for setting in ("max_queued", "queue_timeout_seconds"):
                if setting in self.model_fields_set:
                    raise ValueError(
                        f"backend {self.name!r} has {setting} without max_concurrency: without a"
                        " limit nothing waits"
                    )


class GatewaySettings(_Section):
    """The HTTP gateway."""

    host: str = "127.0.0.1"
    port: Port = 8080
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    publish_queue_events: int = Field(
        default=50_000,
        ge=1,
        description="Events in memory on their way to the broker; the spool holds what is over it.",
    )
    publish_queue_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    shutdown_grace_seconds: Seconds = 5.0
    log_format: Literal["console", "json"] = "console"
    workers: int = Field(default=1, ge=1, le=256, description="Processes that serve the port.")
    max_header_count: int = Field(default=128, ge=8, description="Header fields of a request.")
    max_header_bytes: int = Field(
        default=65_536, ge=1024, description="Of a request's line and header fields together."
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="After the signal to stop, requests are still taken this long; /readyz is 503.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file, the chain included. With it, the gateway is HTTPS."
    )
    tls_key: Path | None = Field(default=None, description="PEM file without a passphrase.")
    tls_min_version: Literal["1.2", "1.3"] = "1.2"
    keys_file: Path | None = Field(
        default=None, description="File of API keys; default: `keys.json` in data_dir."
    )

    @model_validator(mode="after")
    def _require_whole_tls(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @property
    def url(self) -> str:
        """Where this machine reaches the gateway."""
        scheme = "http" if self.tls_certificate is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


class SpoolSettings(_Section):
    """The gateway's local files, in which events wait for the broker."""

    dir: Path | None = Field(
        default=None, description="On a local disk. Default: `spool` in data_dir."
    )
    max_bytes: int = Field(
        default=4 * 1024**3,
        ge=64 * 1024,
        description="Of one worker. Above it events stay in memory, and the newest are refused.",
    )
    segment_bytes: int = Field(
        default=16 * 1024**2, ge=4096, description="A file is removed when all in it is shipped."
    )
    fsync: Literal["never", "interval", "always"] = Field(
        default="never",
        description="A killed gateway loses nothing either way; a machine that loses power does.",
    )
    fsync_seconds: Seconds = Field(default=1.0, description="Where fsync is `interval`.")


class RoutingSettings(_Section):
    """The choice among the backends that serve a model, and what follows on a failure."""

    choice: Literal["least_busy", "weighted"] = Field(
        default="least_busy",
        description="Least busy: fewest requests in flight for its weight. Weighted: by turns.",
    )
    attempts: int = Field(
        default=3, ge=1, le=10, description="Tries of one request, on one backend or several."
    )
    retry_seconds: Seconds = Field(
        default=10.0, description="No further try begins later than this after the first."
    )
    backoff_seconds: Seconds = Field(
        default=0.1, description="Before the second try of the same backend; then doubled."
    )
    breaker_failures: int = Field(
        default=5, ge=1, description="Failures in a row that take a backend out of use."
    )
    breaker_seconds: Seconds = Field(
        default=10.0, description="Time until a backend out of use gets one request as a trial."
    )
    health_interval_seconds: Seconds = Field(
        default=10.0, description="Between two looks at whether a backend is up."
    )


class RetrievalSettings(_Section):
    """Passages added to a chat request."""

    enabled: bool = True
    top_k: int = Field(default=5, ge=1, le=100)
    token_budget: int = Field(default=2000, ge=50, description="Tokens of injected text.")
    timeout_seconds: Seconds = Field(
        default=2.0, description="A search that takes longer is left out of the prompt."
    )
    min_score: float | None = Field(
        default=None, ge=-1, le=1, description="Least cosine similarity of a passage."
    )
    candidates: int = Field(
        default=100, ge=1, le=1000, description="Chunks that each of text and vector brings."
    )
    fusion: Literal["scores", "rrf"] = Field(
        default="scores",
        description="How text and vector order become one: by their scores, or by reciprocal rank.",
    )
    rerank: Literal["auto", "on", "off"] = Field(
        default="auto", description="`auto`: where the encoder's model is known to gain by it."
    )
    rerank_depth: int = Field(default=50, ge=1, le=200, description="Chunks MaxSim is done for.")
    hnsw_ef_search: int = Field(
        default=200, ge=1, le=1000, description="Breadth of the search in the HNSW index."
    )


class ResponsesSettings(_Section):
    """What the Responses API keeps, in the table `api_responses`. Limits count for each key."""

    store: bool = Field(
        default=True, description="Whether a response is kept where the request does not say."
    )
    max_age_seconds: Seconds = Field(
        default=30 * 86_400.0, description="Since the conversation last went on."
    )
    max_responses: int = Field(default=10_000, ge=1, description="The longest unused go first.")
    max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024, description="JSON, as sent.")
    max_turns: int = Field(
        default=1000, ge=1, description="Responses that a conversation may go back to."
    )
    max_conversation_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    timeout_seconds: Seconds = Field(
        default=5.0, description="A request fails with 503 where the database takes longer."
    )
    purge_interval_seconds: Seconds = 60.0


class EncoderSettings(_Section):
    """The encoder. With a `url`, that server is used and none is started here."""

    enabled: bool = Field(default=True, description="Off: full text alone finds passages.")
    url: str | None = Field(
        default=None, pattern=r"^\S+:\d+$", description="host:port of an encoder's gRPC server."
    )
    host: str = "127.0.0.1"
    port: Port = Field(default=3001, description="HTTP.")
    grpc_port: Port = 3002
    model_dir: Path | None = Field(
        default=None, description="A ColBERT export to ONNX; default: the built-in MiniLM."
    )
    precision: Literal["int8", "fp32"] = "int8"
    threads: int = Field(
        default=0, ge=0, description="Inferences at once, each on one core; 0: one per core."
    )
    batch_tokens: int = Field(
        default=1024, ge=16, description="Tokens of one batch, padding included."
    )
    queue_tokens: int = Field(
        default=262_144, ge=16, description="Tokens that may wait; more is refused with 429."
    )
    timeout_seconds: Seconds = Field(
        default=1.0, description="The gateway goes on without vectors after this long."
    )

    @property
    def target(self) -> str:
        """host:port of the gRPC server."""
        return self.url or f"{self.host}:{self.grpc_port}"


class NatsSettings(_ServerSection):
    """The broker. With a `url`, the embedded server is not started."""

    host: str = Field(
        default="127.0.0.1",
        description="Where the embedded server listens; another address lets other hosts in.",
    )
    port: Port = 4222
    monitor_port: Port = 8222
    tls: bool = Field(
        default=False,
        description="The embedded server takes connections by TLS alone. Another's is asked for it"
        " by a URL `tls://…`.",
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="Of the embedded server, PEM; default: one that it is given, by a CA of its"
        " own.",
    )
    tls_key: Path | None = Field(default=None, description="PEM without a passphrase.")
    tls_ca: Path | None = Field(
        default=None,
        description="PEM file of the CAs that the server's certificate is checked with; default:"
        " the system's, or the embedded server's own.",
    )
    client_certificate: Path | None = Field(
        default=None, description="PEM, for a server that asks its clients for one."
    )
    client_key: Path | None = Field(default=None, description="PEM without a passphrase.")
    users: Literal["password", "nkey"] = Field(
        default="password", description="What the embedded server's users prove themselves by."
    )
    nkey_seed: Path | None = Field(
        default=None, description="File with the seed of the user to be, for another's server."
    )
    replicas: int = Field(default=1, ge=1, le=5, description="Copies of each stream.")
    pipeline_max_bytes: int = Field(
        default=0,
        ge=0,
        description="Of the stream; a full one refuses events, which then wait in the gateway's"
        " spool. 0: as much as the disk holds.",
    )
    telemetry_max_bytes: int = Field(
        default=0, ge=0, description="Of the stream; a full one discards the oldest. 0: likewise."
    )

    @model_validator(mode="after")
    def _require_whole_tls(self) -> Self:
        for one, other in (("tls_certificate", "tls_key"), ("client_certificate", "client_key")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other} go together")
        if self.url is not None:
            if self.tls and not self.url.get_secret_value().startswith("tls://"):
                raise ValueError("tls is the embedded server's; another's is asked by tls://…")
            if self.users == "nkey" and self.nkey_seed is None:
                raise ValueError("users is the embedded server's; another's takes an nkey_seed")
        elif self.tls_certificate is not None:
            if not self.tls:
                raise ValueError("tls_certificate is the embedded server's: it needs tls = true")
            if self.tls_ca is None:
                raise ValueError("tls_certificate needs tls_ca, for the clients to check it with")
        return self


class PostgresSettings(_ServerSection):
    """The store. With a `url`, the embedded server is not started."""

    host: str = Field(
        default="127.0.0.1",
        description="Where the embedded server listens besides 127.0.0.1; another address lets"
        " other hosts in.",
    )
    port: Port = 5432


class DagsterSettings(_Section):
    """Webserver, daemon and code location."""

    port: Port = 3000
    url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Of the webserver, for commands that ask it; default: `port` on this machine.",
    )
    postgres_url: SecretStr | None = Field(
        default=None,
        description="Dagster's own storage; default: the database `dagster` beside the platform's.",
    )

    @property
    def webserver_url(self) -> str:
        """Where this machine reaches the webserver."""
        return self.url or f"http://127.0.0.1:{self.port}"


class PipelineSettings(_Section):
    """The batch contract between sensors and jobs."""

    batch_limit: int = Field(default=50_000, ge=1, description="Events of one run, at most.")
    pull_seconds: float = Field(
        default=15.0, gt=0, le=20, description="Time a sensor's tick may spend pulling."
    )
    ack_wait_seconds: float = Field(default=300.0, ge=5)
    lag_limit_seconds: Seconds = Field(
        default=120.0, description="An event that waits longer turns its asset's check red."
    )
    max_deliver: int = Field(default=10, ge=2, description="Deliveries before a dead letter.")
    dataset_dir: Path | None = Field(
        default=None, description="Where chat pair datasets go; default: `datasets` in data_dir."
    )


class LakeSettings(_Section):
    """The lake: Iceberg tables of everything that the pipeline has stored."""

    enabled: bool = Field(default=True, description="Off: the schedules move nothing.")
    warehouse: str | None = Field(
        default=None,
        pattern=r"^(/|file:///|s3://)\S+$",
        description="Where data files go: a folder or `s3://bucket/prefix`; default: `lake` in"
        " data_dir.",
    )
    file_mebibytes: int = Field(
        default=64, ge=1, le=1024, description="Rows of one data file, before compression."
    )
    snapshot_days: float = Field(
        default=7, gt=0, description="How long snapshots are kept, for time travel."
    )
    catalog: Literal["embedded", "nessie"] = Field(
        default="embedded", description="`nessie`: a server, with its warehouse on S3."
    )
    nessie_url: Annotated[str, AfterValidator(_strip_trailing_slash)] = Field(
        default="http://127.0.0.1:19120", pattern=r"^https?://\S+$"
    )
    nessie_warehouse: str = Field(
        default="warehouse", min_length=1, description="Its name in Nessie's configuration."
    )
    s3_endpoint: str | None = Field(
        default=None, pattern=r"^https?://\S+$", description="Default: that of AWS."
    )
    s3_region: str = "us-east-1"
    s3_access_key: str | None = Field(
        default=None, description="Without it, the credentials of the environment."
    )
    s3_secret_key: SecretStr | None = None
    s3_secret_key_file: Path | None = Field(
        default=None, description="File with the secret key, in its place."
    )
    trino_url: str = Field(
        default="http://127.0.0.1:8081",
        pattern=r"^https?://[^/\s:]+:\d+$",
        description="Builds and answers from the marts where the catalog is `nessie`.",
    )
    trino_catalog: str = Field(default="lake", pattern=r"^\w+$")
    dbt_executable: str | None = Field(
        default=None, min_length=1, description="Default: the dbt of this environment."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_s3_secret_key(cls, section: Any) -> Any:
        if not isinstance(section, dict) or section.get("s3_secret_key_file") is None:
            return section
        if section.get("s3_secret_key") is not None:
            raise ValueError("s3_secret_key and s3_secret_key_file exclude each other")
        return {**section, "s3_secret_key": _read_secret(section, "s3_secret_key_file")}


class TelemetrySettings(_Section):
    """Traces by OTLP. OTEL_EXPORTER_OTLP_… turns them on too, and says headers and the like."""

    otlp_endpoint: Annotated[str, AfterValidator(_strip_trailing_slash)] | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Of a collector, such as `http://127.0.0.1:4318`, without `/v1/traces`.",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of the requests whose caller does not decide."
    )

    @property
    def is_tracing(self) -> bool:
        """Whether spans go anywhere."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return False
        variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        return bool(self.otlp_endpoint or any(os.environ.get(name) for name in variables))

    @property
    def traces_endpoint(self) -> str | None:
        """Where spans are posted; None: where the environment says."""
        return None if self.otlp_endpoint is None else f"{self.otlp_endpoint}/v1/traces"

    @property
    def otlp_protocol(self) -> str:
        """What the environment asks for."""
        default = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
        return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or default


class RetentionSettings(_Section):
    """How long rows are kept. The lake keeps its own."""

    event_days: int = Field(
        default=0, ge=0, description="Events in PostgreSQL; 0: until they are deleted by hand."
    )
    dead_letter_days: int = Field(
        default=90, ge=0, description="Of letters that were replayed or dropped; 0: likewise."
    )
    run_days: int = Field(
        default=30,
        ge=0,
        description="Dagster's finished runs with their events and materializations; 0: any age.",
    )
    runs_per_job: int = Field(
        default=5_000,
        ge=0,
        description="Of those, how many of each job at most; 0: any number. Fifty always stay.",
    )


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
            return self.postgres.url.get_secret_value()
        return f"postgresql://sluice@127.0.0.1:{self.postgres.port}/sluice"

    @property
    def sqlalchemy_url(self) -> str:
        """`database_url` for SQLAlchemy."""
        return with_psycopg(self.database_url)

    @property
    def dagster_database_url(self) -> str:
        """The database of Dagster's own storage as a libpq URL."""
        if self.dagster.postgres_url is not None:
            return self.dagster.postgres_url.get_secret_value()
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


def database_beside(database_url: str, name: str) -> str:
    """Return the URL of the database `name` on the same server as `database_url`."""
    return urlsplit(database_url)._replace(path=f"/{name}").geturl()


def with_psycopg(database_url: str) -> str:
    """Return a libpq URL as SQLAlchemy wants it: with the driver's name, psycopg 3."""
    _, separator, rest = database_url.partition("://")
    return f"postgresql+psycopg{separator}{rest}"


def config_file() -> Path:
    """Return the file that the settings are read from, whether it exists or not."""
    return Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from `overrides`, the environment and the file.

    Raises:
        SettingsError: a value is not allowed, a key is unknown, the file is missing or no TOML.
    """
    named_file = os.environ.get(CONFIG_VARIABLE)
    if named_file and not Path(named_file).is_file():
        raise SettingsError(f"{CONFIG_VARIABLE} names {named_file!r}, which is no file")
    _adopt_common_variable("DATABASE_URL", "postgres", overrides)
    _adopt_common_variable("NATS_URL", "nats", overrides)
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{named_file or DEFAULT_CONFIG_FILE} is no valid TOML: {error}"
        ) from error


def _adopt_common_variable(variable: str, section: str, overrides: dict[str, Any]) -> None:
    """Let e.g. `DATABASE_URL` stand for `SLUICE_POSTGRES_URL`, which wins where both are set."""
    value = os.environ.get(variable)
    if value and f"SLUICE_{section.upper()}_URL" not in os.environ:
        overrides.setdefault(section, {}).setdefault("url", value)


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown setting; {_known_keys(problem['loc'])}")
        else:
            lines.append(f"{key}{_show_value(problem['loc'], problem['input'])}: {problem['msg']}")
    return "wrong settings:\n  " + "\n  ".join(lines)


def _show_value(location: tuple[int | str, ...], value: object) -> str:
    if _SECRET_KEYS.intersection(location):
        return " = …"
    # A whole table may hold a secret somewhere, and the complaint names what is wrong in it.
    return "" if isinstance(value, (dict, list, tuple)) else f" = {value!r}"


def _known_keys(location: tuple[int | str, ...]) -> str:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        model = arguments[0] if arguments else annotation
    return "known here: " + ", ".join(sorted(model.model_fields))
