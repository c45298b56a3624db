"""API keys for tests: made as `sluice keys create` makes them."""

from pathlib import Path
from typing import Any

import msgspec

from gateway.access.api_keys import ApiKey, now_to_the_second
from gateway.access.key_file import create_key


def make_key(file: Path, name: str = "team", *, rotate: bool = False, **rights: Any) -> str:
    """Add a key to `file` and return it."""
    placeholders = {"key_id": "0" * 12, "sha256": "0" * 64, "created_at": now_to_the_second()}
    template = msgspec.convert({"name": name, **placeholders, **rights}, ApiKey)
    key, _ = create_key(file, template, may_share_name=rotate)
    return key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
