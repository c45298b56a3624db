"""`sluice restore`: makes a data directory of a backup."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import nats.errors

from contracts.settings import Settings
from sluice.backup.copying import copy_tree
from sluice.backup.create import Say, connected, require_embedded
from sluice.backup.manifest import BackupError, Manifest, check_files, read_manifest
from sluice.backup.streams import STREAMS, load_stream, make_consumers, require_no_streams
from sluice.endpoints import is_running
from sluice.servers.nats import EmbeddedNats
from sluice.servers.postgres import PostgresSetupError
from sluice.servers.private_files import write_private
from sluice.stack import Stack
from sluice.supervisor import ProcessFailed, Supervisor


def verify_backup(folder: Path) -> Manifest:
    """Return the manifest of a backup that is whole.

    Raises:
        BackupError: a file is missing or damaged.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    return manifest


async def restore_backup(
    settings: Settings, folder: Path, say: Say, *, replaces: bool = False
) -> Manifest:
    """Make the data directory of the settings from the backup in `folder`.

    Args:
        replaces: what is in the data directory is moved aside, rather than in the way.

    Raises:
        BackupError: the backup is not whole, the data directory is in use or not empty, or the
            platform is not embedded.
    """
    say("looking through the backup")
    manifest = await asyncio.to_thread(verify_backup, folder)
    _require_same_warehouse(settings, folder, manifest)
    data_dir = settings.data_dir.resolve()
    if is_running(data_dir):
        raise BackupError(f"a platform runs with {data_dir}; stop it first")
    if data_dir.exists() and any(data_dir.iterdir()):
        if not replaces:
            raise BackupError(f"{data_dir} is not empty; with --replace it is moved aside")
        aside = data_dir.with_name(f"{data_dir.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        data_dir.rename(aside)
        say(f"what was in {data_dir} is in {aside}")
    say("files and databases")
    try:
        stack = await asyncio.to_thread(_restore_files, settings, folder, data_dir)
        nats_server, _ = require_embedded(stack)
        say("streams")
        await _restore_streams(stack, nats_server, folder, manifest)
    except (nats.errors.Error, PostgresSetupError, ProcessFailed, OSError) as error:
        raise BackupError(f"the restore is not complete: {error}") from error
    return manifest


def _require_same_warehouse(settings: Settings, folder: Path, manifest: Manifest) -> None:
    if (folder / "lake").is_dir() and settings.warehouse != manifest.warehouse:
        raise BackupError(
            f"the lake was at {manifest.warehouse}, and its files name each other there: restore"
            " to the same `data_dir`, or set `warehouse` in [lake] to that place"
        )


def _restore_files(settings: Settings, folder: Path, data_dir: Path) -> Stack:
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in ("nats/tls", "nats/nkeys"):
        copy_tree(folder / name, data_dir / name)
    write_private(data_dir / "credentials.json", (folder / "credentials.json").read_bytes())
    stack = Stack.of_settings(settings)
    _, postgres = require_embedded(stack)
    if (folder / "keys.json").is_file():
        write_private(settings.keys_file, (folder / "keys.json").read_bytes())
    postgres.take_copy(folder / "postgres")
    for name, target in (
        ("lake", Path(settings.warehouse.removeprefix("file://"))),
        ("spool", settings.spool_dir),
        ("datasets", settings.dataset_dir),
    ):
        copy_tree(folder / name, target)
    return stack


async def _restore_streams(
    stack: Stack, server: EmbeddedNats, folder: Path, manifest: Manifest
) -> None:
    server.write_configuration()
    lines: list[str] = []
    supervisor = Supervisor(lambda _name, line: lines.append(line))
    try:
        await supervisor.start([server.process()])
        async with connected(server) as client:
            await require_no_streams(client)
            for name in STREAMS:
                await load_stream(client, name, folder / "streams" / name, manifest.streams[name])
            await make_consumers(client, stack.settings.pipeline, manifest.streams)
    finally:
        await supervisor.stop()
