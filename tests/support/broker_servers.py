"""The platform's nats-server with the options that a test asks for."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from contracts.settings import NatsSettings, PipelineSettings
from sluice.servers.broker_tls import prepare_broker_tls
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats, prepare_nkeys
from sluice.streams import apply_streams
from tests.support.ports import free_port
from tests.support.processes import running


def new_broker(folder: Path, *, tls: bool = False, nkeys: bool = False) -> EmbeddedNats:
    """Return a server that is not started, with its files in `folder`."""
    return EmbeddedNats(
        data_dir=folder / "data",
        port=free_port(),
        monitor_port=free_port(),
        credentials=load_or_create_credentials(folder / "credentials.json"),
        tls=prepare_broker_tls(NatsSettings(tls=tls), folder / "tls"),
        nkey_seeds=prepare_nkeys(folder / "nkeys") if nkeys else None,
    )


@contextmanager
def running_broker(
    folder: Path, pipeline: PipelineSettings, *, tls: bool = False, nkeys: bool = False
) -> Iterator[EmbeddedNats]:
    """Run a server with the platform's users, streams and consumers until the end of the block."""
    server = new_broker(folder, tls=tls, nkeys=nkeys)
    server.write_configuration()
    with running(server.process(), log=folder / "log"):
        asyncio.run(apply_streams(server.access("admin"), pipeline))
        yield server


@asynccontextmanager
async def started_broker(server: EmbeddedNats, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run `server`, without streams, waiting for it in a thread."""
    manager = running(server.process(), log=log)
    process = await asyncio.to_thread(manager.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
