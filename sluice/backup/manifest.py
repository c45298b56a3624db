"""What a backup consists of, and whether it is whole."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


class BackupError(Exception):
    """A backup cannot be made, used or trusted; the message says why."""


class StoredFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    size: int
    sha256: str


class StreamBackup(msgspec.Struct, frozen=True, kw_only=True):
    """One stream: its snapshot is the file `streams/NAME`."""

    config: dict[str, Any]
    state: dict[str, Any]
    """As the broker gave them with the snapshot; a restore gives them back."""
    acknowledged: dict[str, int]
    """Durable consumer → sequence up to which all was acknowledged before the databases' copy."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The file `manifest.json`, written last: without it a backup is not complete."""

    format_version: int
    created_at: datetime
    """UTC, when it began: what was answered before is in it."""
    finished_at: datetime
    versions: dict[str, str]
    """Of Sluice, PostgreSQL, nats-server, Dagster."""
    warehouse: str
    """Where the lake was: its files name each other by their whole paths."""
    streams: dict[str, StreamBackup]
    files: dict[str, StoredFile]
    """Path within the backup → file."""


def describe_files(folder: Path) -> dict[str, StoredFile]:
    """Return the files of a backup, by path."""
    return {
        str(file.relative_to(folder)): StoredFile(file.stat().st_size, _sha256(file))
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / MANIFEST
    }


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of the backup in `folder`.

    Raises:
        BackupError: there is none, it is damaged, or of another format.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise BackupError(f"{folder} has no {MANIFEST}: it is no backup, or not whole") from error
    except msgspec.DecodeError as error:
        raise BackupError(f"{folder / MANIFEST} is damaged: {error}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BackupError(
            f"{folder} is of format {manifest.format_version}; this release reads {FORMAT_VERSION}"
        )
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with the manifest.

    Raises:
        BackupError: one is missing, or not what was written.
    """
    for name, expected in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise BackupError(f"{file} is missing")
        if file.stat().st_size != expected.size or _sha256(file) != expected.sha256:
            raise BackupError(f"{file} is damaged")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
