"""The servers that the platform is made of."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from contracts.settings.section import Port, Seconds, Section, ServerSection


class EncoderSettings(Section):
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


class NatsSettings(ServerSection):
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


class PostgresSettings(ServerSection):
    """The store. With a `url`, the embedded server is not started."""

    host: str = Field(
        default="127.0.0.1",
        description="Where the embedded server listens besides 127.0.0.1; another address lets"
        " other hosts in.",
    )
    port: Port = 5432


class DagsterSettings(Section):
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
