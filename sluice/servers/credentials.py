"""Passwords of the embedded servers, made at the first start."""

import secrets
from pathlib import Path

import msgspec

from sluice.servers.private_files import write_private


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
    content = msgspec.json.format(msgspec.json.encode(credentials))
    write_private(file, content, must_be_new=True)
    return credentials
