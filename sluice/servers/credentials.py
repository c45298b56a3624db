"""Passwords of the embedded servers, made at the first start."""

import os
import secrets
from pathlib import Path

import msgspec


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """One password per user; the file is readable by its owner alone."""

    postgres: str
    nats_admin: str
    nats_gateway: str
    nats_dagster: str
    nats_telemetry: str


def load_or_create_credentials(file: Path) -> Credentials:
    """Read `file`, or write it with fresh passwords.

    Raises:
        msgspec.DecodeError: the file is damaged.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Credentials)
    except FileNotFoundError:
        pass
    credentials = Credentials(
        **{name: secrets.token_urlsafe(24) for name in Credentials.__struct_fields__}
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(credentials)))
    return credentials
