"""The file that API keys are kept in: JSON, replaced as a whole, readable by its owner only."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from gateway.access.api_keys import ApiKey, new_key, now_to_the_second


class KeyFileError(Exception):
    """The file cannot be read or is no list of keys; the message says what is wrong where."""


class NoSuchKey(KeyError):
    """No key has this ID."""


class NameTaken(ValueError):
    """Another key that is valid has the name."""


class _Keys(Struct, forbid_unknown_fields=True):
    keys: list[ApiKey] = []


_decoder = msgspec.json.Decoder(_Keys)


def read_keys(file: Path) -> tuple[ApiKey, ...]:
    """Return the entries of `file`.

    Raises:
        FileNotFoundError: there is none.
        KeyFileError: it cannot be read, has a wrong field, or two entries of one ID.
    """
    try:
        keys = _decoder.decode(file.read_bytes()).keys
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{file} is no file of API keys: {error}") from error
    by_id: set[str] = set()
    for key in keys:
        if key.key_id in by_id:
            raise KeyFileError(f"{file} has two keys of the ID {key.key_id}")
        by_id.add(key.key_id)
        for moment in (key.created_at, key.expires_at, key.revoked_at):
            if moment is not None and moment.tzinfo is None:
                raise KeyFileError(f"{file}: a moment of the key {key.key_id} has no time zone")
    return tuple(keys)


def create_key(file: Path, template: ApiKey, *, may_share_name: bool = False) -> tuple[str, ApiKey]:
    """Add a key with the rights of `template`; return the key itself, this once, and its entry.

    Raises:
        KeyFileError: the file is not readable.
        NameTaken: a valid key has the name, and `may_share_name` is not set.
    """
    with _locked(file):
        keys = _read_or_none(file)
        now = now_to_the_second()
        if not may_share_name and any(
            each.name == template.name and each.status(now) == "active" for each in keys
        ):
            raise NameTaken(template.name)
        key, key_id, sha256 = new_key()
        entry = structs.replace(template, key_id=key_id, sha256=sha256, created_at=now)
        _write(file, [*keys, entry])
    return key, entry


def revoke_key(file: Path, key_id: str) -> ApiKey:
    """Make the key of `key_id` invalid; its entry stays, so that it is known whose it was.

    Raises:
        KeyFileError: the file is not readable.
        NoSuchKey: there is no such key.
    """
    with _locked(file):
        keys = _read_or_none(file)
        for position, key in enumerate(keys):
            if key.key_id == key_id:
                if key.revoked_at is None:
                    key = structs.replace(key, revoked_at=now_to_the_second())
                    keys[position] = key
                    _write(file, keys)
                return key
    raise NoSuchKey(key_id)


def _read_or_none(file: Path) -> list[ApiKey]:
    try:
        return list(read_keys(file))
    except FileNotFoundError:
        return []


def _write(file: Path, keys: Sequence[ApiKey]) -> None:
    content = msgspec.json.format(msgspec.json.encode(_Keys(list(keys)))) + b"\n"
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Keep other commands from writing `file` meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
