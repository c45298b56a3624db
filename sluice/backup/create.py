"""`sluice backup`: everything that the embedded platform keeps, while it runs.

The order makes it consistent:

1. what each consumer has acknowledged, so what the databases certainly hold;
2. the databases, both at one moment: at least all of 1;
3. the gateway's spool: what was answered and is not in the stream yet;
4. the streams: what left the spool before 3, and all that the databases may not hold.

Restored consumers begin after 1. What lies between 1 and 4 comes again, and what is a row already
stays one row, by its event ID. The lake's files never change: they are copied before the databases
and once more after, so that all that the catalog in 2 names is there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
import nats.errors
from nats.aio.client import Client

from contracts.broker_access import BrokerAccessError
from contracts.broker_client import connect_briefly
from contracts.settings import config_file
from sluice.backup.copying import copy_tree
from sluice.backup.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    BackupError,
    Manifest,
    StreamBackup,
    describe_files,
)
from sluice.backup.streams import STREAMS, read_acknowledged, save_stream
from sluice.servers.nats import ADMIN_INBOX, EmbeddedNats
from sluice.servers.postgres import EmbeddedPostgres, PostgresSetupError
from sluice.servers.private_files import write_private
from sluice.stack import Stack

Say = Callable[[str], None]


async def create_backup(stack: Stack, folder: Path, say: Say) -> Manifest:
    """Write a backup of the running platform into `folder`, which must be empty or missing.

    Raises:
        BackupError: the platform is not embedded or does not run, or the folder is not empty.
    """
    nats_server, postgres = require_embedded(stack)
    _prepare(folder)
    created_at = datetime.now(UTC)
    try:
        async with connected(nats_server) as client:
            acknowledged = await read_acknowledged(client)
            say("the lake's files")
            await asyncio.to_thread(_copy_lake, stack, folder)
            say("the databases")
            await asyncio.to_thread(postgres.copy_to, folder / "postgres")
            say("the spool and the streams")
            await asyncio.to_thread(copy_tree, stack.settings.spool_dir, folder / "spool")
            streams: dict[str, StreamBackup] = {}
            for name in STREAMS:
                streams[name] = await save_stream(
                    client, name, folder / "streams" / name, acknowledged[name]
                )
            server_version = str(client.connected_server_version)
        await asyncio.to_thread(_copy_lake, stack, folder)
        await asyncio.to_thread(_copy_files, stack, folder)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            created_at=created_at,
            finished_at=datetime.now(UTC),
            versions={
                "sluice-platform": version("sluice-platform"),
                "dagster": version("dagster"),
                "nats-server": server_version,
                "postgresql": (folder / "postgres" / "PG_VERSION").read_text().strip(),
            },
            warehouse=stack.settings.warehouse,
            streams=streams,
            files=await asyncio.to_thread(describe_files, folder),
        )
    except (BrokerAccessError, nats.errors.Error, PostgresSetupError, OSError) as error:
        raise BackupError(f"the backup is not complete: {error}") from error
    write_private(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
    return manifest


def _prepare(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def require_embedded(stack: Stack) -> tuple[EmbeddedNats, EmbeddedPostgres]:
    """Return the embedded servers. Raises BackupError where one is another's."""
    if stack.nats is None or stack.postgres is None:
        raise BackupError(
            "the settings name another's PostgreSQL or NATS; back those up by their own tools, as"
            " docs/backup.md says"
        )
    if not stack.settings.warehouse.startswith("file://"):
        raise BackupError("the lake is on another's storage; docs/backup.md says how to save it")
    return stack.nats, stack.postgres


@asynccontextmanager
async def connected(server: EmbeddedNats) -> AsyncIterator[Client]:
    """Yield the administrator's connection."""
    client = await connect_briefly(server.access("admin"), inbox_prefix=ADMIN_INBOX)
    try:
        yield client
    finally:
        await client.close()


def _copy_lake(stack: Stack, folder: Path) -> None:
    copy_tree(Path(stack.settings.warehouse.removeprefix("file://")), folder / "lake")


def _copy_files(stack: Stack, folder: Path) -> None:
    data_dir = stack.data_dir
    copy_tree(stack.settings.dataset_dir, folder / "datasets")
    for name in ("nats/tls", "nats/nkeys"):
        copy_tree(data_dir / name, folder / name)
    sources = {
        "credentials.json": data_dir / "credentials.json",
        "keys.json": stack.settings.keys_file,
        "sluice.toml": config_file(),
    }
    for name, source in sources.items():
        if source.is_file():
            write_private(folder / name, source.read_bytes())
