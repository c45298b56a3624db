"""The platform on the design's three hosts: its real parts, told of each other by settings."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from contracts.settings import NatsSettings, PipelineSettings, with_psycopg
from sluice.databases import ensure_database
from sluice.migrations import migrate
from sluice.servers.dagster import PROJECT_ROOT
from sluice.streams import apply_streams
from tests.faults.clocks import build_clock_library, new_clock
from tests.faults.host_settings import (
    COMPUTE,
    DESKTOP,
    HOSTS,
    MARK_VARIABLE,
    HostSettings,
)
from tests.faults.network import CLIENT, Network, network_of
from tests.faults.parts import Part, kill_marked
from tests.faults.small_disks import SmallDisk, small_disk

_MIB = 1024 * 1024
_SPOOL_MIB = 256
_CLOCKLESS = {"nats", "upstream", "telemetry-reader", "encoder"}
"""nats-server is written in Go and asks the kernel itself for the time; the others' clocks do not
come into any event or row."""


@dataclass
class ThreeHosts:
    """The running platform. Whoever asks its parts must be on the network's client host."""

    settings: HostSettings
    parts: dict[str, Part]
    disks: dict[str, SmallDisk]
    """By the part whose data is on it; `gateway` stands for its spool."""
    api_key: str

    @property
    def network(self) -> Network:
        return self.settings.network

    @property
    def gateway_url(self) -> str:
        return self.settings.gateway.url

    @property
    def database_url(self) -> str:
        return self.settings.database_url("sluice")

    @property
    def broker_url(self) -> str:
        """For the administrator."""
        return self.settings.nats.url("admin")

    @property
    def telemetry_report(self) -> Path:
        """What the telemetry reader has counted so far, as JSON."""
        return self.settings.folder / "telemetry.json"

    async def ingest(self, documents: Path) -> None:
        """Read documents for retrieval, in a run of the job that `sluice ingest` launches.

        Raises:
            RuntimeError: it failed.
        """
        config = {"paths": [str(documents)], "collection": "default"}
        file = self.settings.folder / "ingest.yaml"
        file.write_text(json.dumps({"ops": {"document_chunks": {"config": config}}}))
        await _run_module(
            self.network,
            COMPUTE,
            self.settings.compute_environment,
            *("dagster", "job", "execute", "--job", "ingest_documents"),
            *("--python-file", "platform/definitions.py", "--working-directory", "."),
            *("--config", str(file)),
        )

    def parts_of(self, host: str) -> list[Part]:
        """Return the parts of a host in the order of their start."""
        return [part for part in self.parts.values() if part.host == host]

    async def stop_host(self, host: str) -> None:
        """Shut a host down: its parts end in the reverse order of their start."""
        for part in reversed(self.parts_of(host)):
            await part.stop()

    async def start_host(self, host: str) -> None:
        """Start a host again and wait until its parts are ready."""
        await _start_together(self.parts_of(host))


@asynccontextmanager
async def three_hosts(
    folder: Path,
    *,
    pipeline: PipelineSettings,
    broker: NatsSettings,
    has_ui: bool = True,
    disk_mib: int = 1024,
) -> AsyncIterator[ThreeHosts]:
    """Start the platform on three hosts of a network of its own, and move there as a client.

    This process must have one thread only; it stays on that network.

    Args:
        has_ui: whether Dagster's webserver runs too, which no event passes.
        disk_mib: size of the disks for the broker and, three times, for PostgreSQL.
    """
    mark = uuid4().hex
    async with AsyncExitStack() as stack:
        network = stack.enter_context(network_of(HOSTS))
        disks = {
            name: stack.enter_context(small_disk(folder / "disks" / name, size=mib * _MIB))
            for name, mib in (
                ("gateway", _SPOOL_MIB),
                ("nats", disk_mib),
                ("postgres", 3 * disk_mib),
            )
        }
        stack.callback(kill_marked, MARK_VARIABLE, mark)
        network.move_here(CLIENT)
        data = {name: disk.path / "data" for name, disk in disks.items()}
        settings = HostSettings(folder, network, mark, data, pipeline)
        platform = await _prepare(settings, disks, has_ui=has_ui)
        for part in platform.parts.values():
            stack.push_async_callback(part.end)
        await _start(platform, broker)
        yield platform


async def _prepare(
    settings: HostSettings, disks: dict[str, SmallDisk], *, has_ui: bool
) -> ThreeHosts:
    folder = settings.folder
    for host in (DESKTOP, COMPUTE):
        (folder / host).mkdir()
    settings.nats.write_configuration()
    await asyncio.to_thread(settings.postgres.initialise)
    create = ("sluice.cli", "keys", "create", "faults")
    key = await _run_module(settings.network, DESKTOP, settings.desktop_environment, *create)
    library = build_clock_library(folder)
    parts = {
        spec.name: Part(
            host=host,
            spec=spec,
            network=settings.network,
            log=folder / f"{spec.name}.log",
            environment=environment,
            clock=None
            if spec.name in _CLOCKLESS
            else new_clock(library, folder / f"{spec.name}.clock"),
        )
        for host, spec, environment in settings.parts()
        if has_ui or spec.name != "dagster-web"
    }
    return ThreeHosts(settings, parts, disks, key.strip())


async def _start(platform: ThreeHosts, broker: NatsSettings) -> None:
    settings, parts = platform.settings, platform.parts
    for name in ("nats", "postgres", "upstream", "telemetry-reader"):
        await parts[name].start()
    encoder = asyncio.create_task(parts["encoder"].start())
    for name in ("sluice", "dagster"):
        await asyncio.to_thread(ensure_database, settings.database_url("postgres"), name)
    await asyncio.to_thread(migrate, with_psycopg(platform.database_url))
    await apply_streams(platform.broker_url, settings.pipeline, broker=broker)
    await asyncio.to_thread(settings.dagster.prepare)
    await _start_together(
        part for name, part in parts.items() if name == "gateway" or name.startswith("dagster")
    )
    await encoder


async def _start_together(parts: Iterable[Part]) -> None:
    """Each waits for what it needs by itself, as after a power cut."""
    await asyncio.gather(*(part.start() for part in parts))


async def _run_module(
    network: Network, host: str, environment: Mapping[str, str], *arguments: str
) -> str:
    result = await asyncio.to_thread(
        subprocess.run,
        [*network.enter(host), sys.executable, "-m", *arguments],
        cwd=PROJECT_ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {result.stdout}{result.stderr[-3000:]}")
    return str(result.stdout)
