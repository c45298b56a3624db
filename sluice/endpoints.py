"""Where the parts of a running platform answer, and how another process learns of it."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from contracts.broker_access import BrokerAccess
from contracts.settings import EncoderSettings, Settings

_FILE = "running.json"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Addresses of the parts; `nats` and `postgres` carry credentials."""

    gateway: str
    dagster: str
    encoder: str | None
    """Over HTTP, or `grpc://…` where it is another's; None where it is off."""
    encoder_grpc: str | None
    """host:port."""
    nats: str
    nats_monitor: str
    postgres: str
    nats_files: dict[str, str] = {}
    """Fields of `BrokerAccess` → paths, where the broker asks for TLS or nkeys."""

    @property
    def broker(self) -> BrokerAccess:
        """How the administrator reaches the broker."""
        return BrokerAccess.of_paths(self.nats, self.nats_files)

    @classmethod
    def of_settings(cls, settings: Settings, *, broker: BrokerAccess, postgres: str) -> "Endpoints":
        nats_host = urlsplit(broker.url).hostname or "127.0.0.1"
        return cls(
            gateway=settings.gateway.url,
            dagster=settings.dagster.webserver_url,
            encoder=_encoder_address(settings.encoder),
            encoder_grpc=settings.encoder.target if settings.encoder.enabled else None,
            nats=broker.url,
            nats_files=broker.paths,
            nats_monitor=f"http://{nats_host}:{settings.nats.monitor_port}",
            postgres=postgres,
        )

    def without_secrets(self) -> dict[str, str]:
        """Return the addresses of the parts that there are, as they may be shown."""
        addresses: dict[str, str | None] = msgspec.structs.asdict(self)
        del addresses["nats_files"]
        return {name: _hide_password(url) for name, url in addresses.items() if url is not None}


class _Running(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    started_at: float
    endpoints: Endpoints


def announce(data_dir: Path, endpoints: Endpoints) -> None:
    """Leave word for `sluice status` and `sluice ingest` that this process runs a platform."""
    me = psutil.Process()
    content = _Running(pid=me.pid, started_at=me.create_time(), endpoints=endpoints)
    descriptor = os.open(data_dir / _FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(content))


def withdraw(data_dir: Path) -> None:
    """Take back what `announce` left."""
    (data_dir / _FILE).unlink(missing_ok=True)


def is_running(data_dir: Path) -> bool:
    """Return whether a platform runs with this data directory."""
    return _read(data_dir / _FILE) is not None


def find_endpoints(settings: Settings) -> Endpoints:
    """Return the endpoints of the platform that runs here, else those of the settings."""
    running = _read(settings.data_dir / _FILE)
    if running is not None:
        return running.endpoints
    return Endpoints.of_settings(settings, broker=settings.broker, postgres=settings.database_url)


def _read(file: Path) -> _Running | None:
    try:
        running = msgspec.json.decode(file.read_bytes(), type=_Running)
        process = psutil.Process(running.pid)
    except (FileNotFoundError, msgspec.DecodeError, psutil.NoSuchProcess):
        return None
    # A PID may have been handed to another process since.
    is_same = abs(process.create_time() - running.started_at) < 1
    return running if is_same else None


def _encoder_address(settings: EncoderSettings) -> str | None:
    if not settings.enabled:
        return None
    if settings.url is not None:
        return f"grpc://{settings.url}"
    return f"http://{settings.host}:{settings.port}"


def _hide_password(url: str) -> str:
    parts: Any = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return str(parts._replace(netloc=f"{parts.username}:***@{host}").geturl())
