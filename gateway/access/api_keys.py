"""API keys as they are made, checked and kept: a hash each, never the key itself.

A key is `sk-sluice-<id>-<secret>`. The ID finds its entry; the secret has 256 random bits, so a
plain SHA-256 keeps it: there is nothing to guess that a slow hash would have to protect.
"""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from contracts.events import ContentCapture

KEY_PREFIX = "sk-sluice-"

_KEY = re.compile(rb"sk-sluice-([0-9a-f]{12})-[\x21-\x7e]{20,200}")
_ID_BYTES = 6
_SECRET_BYTES = 32

KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$")]
_Limit = Annotated[int, Meta(ge=1, le=1_000_000_000)]
_Name = Annotated[str, Meta(min_length=1, max_length=2000)]


class ApiKey(Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An entry of the keys file."""

    key_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$")]
    name: KeyName
    """Shown on events and log lines. Keys of one name are one caller: that is how to rotate."""
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
    """Of the whole key, in hexadecimal."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    models: tuple[_Name, ...] = ()
    """Names that may be asked for, `*` as a wildcard; empty: any."""
    collections: tuple[_Name, ...] = ()
    """Those that may be searched; empty: any."""
    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    content_capture: ContentCapture = "full"

    def status(self, now: datetime) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def is_of(self, key: bytes) -> bool:
        """Return whether `key` is the one of this entry, in a time that tells nothing of it."""
        return hmac.compare_digest(hashlib.sha256(key).hexdigest(), self.sha256)


def read_key_id(key: bytes) -> str | None:
    """Return the ID inside `key`, or None where it does not have a key's form."""
    match = _KEY.fullmatch(key)
    return None if match is None else match[1].decode()


def new_key() -> tuple[str, str, str]:
    """Return a fresh key, its ID, and the hash to keep of it."""
    key_id = secrets.token_hex(_ID_BYTES)
    key = f"{KEY_PREFIX}{key_id}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    return key, key_id, hashlib.sha256(key.encode()).hexdigest()


def now_to_the_second() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
