"""The keys that are valid, ready to be looked up for each request."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import time

from gateway.access.api_keys import ApiKey, read_key_id
from gateway.access.errors import KeyRefused
from gateway.access.grant import Grant
from gateway.access.rate_limits import Limits

_BEARER = b"bearer "
_PREFIX = b"sk-sluice-"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    key: ApiKey
    grant: Grant
    limits: Limits | None
    """None where the key has none."""
    expires: float
    """Unix seconds."""


class KeyRing:
    """Keys by their IDs."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        self._callers = {key.key_id: _caller_of(key) for key in keys}

    def __len__(self) -> int:
        return len(self._callers)

    @property
    def has_valid_key(self) -> bool:
        now = time()
        return any(
            caller.key.revoked_at is None and now < caller.expires
            for caller in self._callers.values()
        )

    def identify(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who sent a request with these headers, by `x-api-key` or a bearer token.

        Raises:
            KeyRefused: there is no key, or it is not valid.
        """
        key = _read_key(headers)
        if key is None:
            raise KeyRefused(
                "No API key was sent. Send it as 'Authorization: Bearer <key>' or as 'x-api-key'."
            )
        key_id = read_key_id(key)
        caller = None if key_id is None else self._callers.get(key_id)
        if caller is None or not caller.key.is_of(key):
            raise KeyRefused("The API key is not known to this gateway.")
        if caller.key.revoked_at is not None:
            raise KeyRefused(f"The API key {key_id} was revoked.")
        if time() >= caller.expires:
            raise KeyRefused(f"The API key {key_id} has expired.")
        return caller


def _read_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Return what was sent as a key; of two, the one that has the form of ours."""
    key = headers.get(b"x-api-key")
    if key is not None and key.startswith(_PREFIX):
        return key
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip()
    return key


def _caller_of(key: ApiKey) -> Caller:
    has_limits = key.requests_per_minute is not None or key.tokens_per_minute is not None
    grant = Grant(
        key_id=key.key_id,
        key_name=key.name,
        content_capture=key.content_capture,
        matches_model=_name_matcher(key.models),
        collections=key.collections or None,
    )
    return Caller(
        key=key,
        grant=grant,
        limits=Limits(key.requests_per_minute, key.tokens_per_minute) if has_limits else None,
        expires=float("inf") if key.expires_at is None else key.expires_at.timestamp(),
    )


def _name_matcher(patterns: Sequence[str]) -> Callable[[str], object] | None:
    if not patterns:
        return None
    expressions = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return re.compile("|".join(expressions), re.DOTALL).fullmatch
