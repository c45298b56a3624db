"""Which part runs on which host, and the settings by which the parts find each other."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from contracts.settings import EncoderSettings, GatewaySettings, PipelineSettings
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.dagster import PROJECT_ROOT, DagsterServers
from sluice.servers.encoder import encoder_process
from sluice.servers.gateway import gateway_process
from sluice.servers.nats import EmbeddedNats, store_probe
from sluice.servers.postgres import EmbeddedPostgres
from sluice.servers.probes import sql_probe, tcp_probe
from sluice.servers.spec import NotReady, Probe, ProcessSpec
from tests.faults.network import Network
from tests.faults.parts import spec_of
from tests.support.scripted_model_server import MODEL, SLOW_MODEL

DESKTOP = "desktop"
"""Gateway, broker and a model server."""
COMPUTE = "compute"
"""PostgreSQL, Dagster and the encoder."""
STORAGE = "storage"
"""Observability: whoever reads the stream TELEMETRY."""

HOSTS = (DESKTOP, COMPUTE, STORAGE)

MARK_VARIABLE = "FAULTS_MARK"
"""Inherited by every process of the platform, however it was started."""

_GATEWAY_PORT, _NATS_PORT, _POSTGRES_PORT, _UPSTREAM_PORT = 8080, 4222, 5432, 9000
_MONITOR_PORT = 8222
_DAGSTER_PORT, _CODE_PORT = 3000, 4266


class HostPart(NamedTuple):
    """A process and the environment of its host."""

    host: str
    spec: ProcessSpec
    environment: Mapping[str, str]


@dataclass(frozen=True)
class HostSettings:
    """What an operator would write into the settings of the three hosts.

    Args:
        data: folder of a part's data by the part's name; `gateway` stands for its spool.
    """

    folder: Path
    network: Network
    mark: str
    data: Mapping[str, Path]
    pipeline: PipelineSettings

    @property
    def nats(self) -> EmbeddedNats:
        return EmbeddedNats(
            self.data["nats"],
            _NATS_PORT,
            _MONITOR_PORT,
            load_or_create_credentials(self.folder / "credentials.json"),
            host=self.network.address(DESKTOP),
        )

    @property
    def postgres(self) -> EmbeddedPostgres:
        credentials = load_or_create_credentials(self.folder / "credentials.json")
        return EmbeddedPostgres(
            self.data["postgres"],
            _POSTGRES_PORT,
            credentials.postgres,
            host=self.network.address(COMPUTE),
        )

    @property
    def gateway(self) -> GatewaySettings:
        return GatewaySettings(host=self.network.address(DESKTOP), port=_GATEWAY_PORT)

    @property
    def encoder(self) -> EncoderSettings:
        return EncoderSettings(host=self.network.address(COMPUTE))

    def database_url(self, name: str) -> str:
        """Return the URL of a database as other hosts reach it."""
        return self.postgres.url(name).replace("127.0.0.1", self.network.address(COMPUTE))

    @property
    def dagster(self) -> DagsterServers:
        return DagsterServers(
            home=self.folder / "dagster",
            port=_DAGSTER_PORT,
            storage_url=self.database_url("dagster"),
            code_port=_CODE_PORT,
            environment=self.compute_environment,
        )

    @property
    def _base_environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLUICE_", "DAGSTER_"))
            and name not in ("DATABASE_URL", "NATS_URL")
        }
        return {**inherited, MARK_VARIABLE: self.mark, "PYTHONUNBUFFERED": "1"}

    @property
    def _common_environment(self) -> dict[str, str]:
        return {
            **self._base_environment,
            "SLUICE_CONFIG": str(self.write_configuration()),
            "SLUICE_POSTGRES_URL": self.database_url("sluice"),
            "SLUICE_LAKE_ENABLED": "false",
        }

    @property
    def desktop_environment(self) -> dict[str, str]:
        return {
            **self._common_environment,
            "SLUICE_DATA_DIR": str(self.folder / DESKTOP),
            "SLUICE_GATEWAY_HOST": self.gateway.host,
            "SLUICE_GATEWAY_PORT": str(self.gateway.port),
            "SLUICE_GATEWAY_LOG_FORMAT": "json",
            "SLUICE_SPOOL_DIR": str(self.data["gateway"]),
            "SLUICE_NATS_URL": self.nats.url("gateway"),
            "SLUICE_ENCODER_URL": self.encoder.target,
        }

    @property
    def compute_environment(self) -> dict[str, str]:
        return {
            **self._common_environment,
            "SLUICE_DATA_DIR": str(self.folder / COMPUTE),
            "SLUICE_NATS_URL": self.nats.url("dagster"),
            "SLUICE_ENCODER_HOST": self.encoder.host,
            "SLUICE_DAGSTER_PORT": str(_DAGSTER_PORT),
            "SLUICE_DAGSTER_POSTGRES_URL": self.database_url("dagster"),
            "SLUICE_PIPELINE_ACK_WAIT_SECONDS": str(self.pipeline.ack_wait_seconds),
            "SLUICE_PIPELINE_MAX_DELIVER": str(self.pipeline.max_deliver),
            "SLUICE_PIPELINE_PULL_SECONDS": str(self.pipeline.pull_seconds),
            "DAGSTER_HOME": str(self.folder / "dagster"),
        }

    def write_configuration(self) -> Path:
        """Write the file of settings that all hosts share: where the models are."""
        file = self.folder / "sluice.toml"
        if not file.exists():
            file.write_text(
                '[[backends]]\nname = "scripted"\nkind = "openai"\n'
                f'url = "http://127.0.0.1:{_UPSTREAM_PORT}"\n'
                f'models = ["{MODEL}", "{SLOW_MODEL}"]\n'
            )
        return file

    def _nats_process(self) -> ProcessSpec:
        probe = tcp_probe(self.network.address(DESKTOP), _NATS_PORT)
        liveness = store_probe(_monitor_probe(self.network), self.data["nats"])
        return replace(self.nats.process(), probe=probe, liveness=liveness)

    def parts(self) -> list[HostPart]:
        """Return the processes, whose data is prepared, in the order of their start."""
        base = self._base_environment
        database = self.database_url("postgres")
        reader = (
            "tests.faults.telemetry_reader",
            self.nats.url("telemetry"),
            str(self.folder / "telemetry.json"),
        )

        def inside(spec: ProcessSpec, port: int) -> ProcessSpec:
            return spec_of(spec, probe=_probe_inside(self.network, COMPUTE, port))

        return [
            # The broker's monitoring, the UI and the code location are for their own host alone.
            HostPart(DESKTOP, self._nats_process(), base),
            HostPart(
                DESKTOP,
                _module("upstream", "tests.faults.scripted_upstream", str(_UPSTREAM_PORT)),
                base,
            ),
            HostPart(COMPUTE, spec_of(self.postgres.process(), probe=sql_probe(database)), base),
            HostPart(COMPUTE, encoder_process(self.encoder, {}), self.compute_environment),
            HostPart(DESKTOP, gateway_process(self.gateway, {}), self.desktop_environment),
            HostPart(COMPUTE, inside(self.dagster.code_location(), _CODE_PORT), base),
            HostPart(COMPUTE, self.dagster.daemon(), base),
            HostPart(COMPUTE, inside(self.dagster.webserver(), _DAGSTER_PORT), base),
            HostPart(STORAGE, _module("telemetry-reader", *reader), base),
        ]


def _monitor_probe(network: Network) -> Probe:
    """What nats-server says of itself, to its own host alone."""

    async def probe() -> None:
        request = r"GET /healthz HTTP/1.0\r\n\r\n"
        process = await asyncio.create_subprocess_exec(
            *network.enter(DESKTOP),
            *("timeout", "3", "bash", "-c"),
            f"exec 3<>/dev/tcp/127.0.0.1/{_MONITOR_PORT}; printf '{request}' >&3; cat <&3",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        answer, _ = await process.communicate()
        if b" 200 OK" not in answer:
            raise NotReady(answer.decode(errors="replace"))

    return probe


def _module(name: str, *arguments: str) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=(sys.executable, "-m", *arguments),
        probe=_unasked,
        working_dir=PROJECT_ROOT,
        stop_seconds=2.0,
    )


def _probe_inside(network: Network, host: str, port: int) -> Probe:
    """Ready when a connection from the host to itself is accepted."""

    async def probe() -> None:
        process = await asyncio.create_subprocess_exec(
            *network.enter(host),
            *("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"),
            stderr=asyncio.subprocess.DEVNULL,
        )
        if await process.wait() != 0:
            raise NotReady(f"nobody listens on port {port} of {host}")

    return probe


async def _unasked() -> None:
    """Ready as soon as it is started; whoever needs it waits for what it does."""
