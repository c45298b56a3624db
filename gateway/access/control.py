"""Decides for each request whether it may go on, and who it is from."""

from collections.abc import Mapping, Sequence
from time import monotonic

from gateway.access.api_keys import ApiKey
from gateway.access.errors import LimitReached
from gateway.access.key_ring import Caller, KeyRing
from gateway.access.limit_headers import LimitHeaders
from gateway.access.rate_limits import LevelTable
from gateway.errors import Header


class AccessControl:
    """The keys of the moment and what was used of their limits."""

    def __init__(self, keys: Sequence[ApiKey], levels: LevelTable, *, may_be_open: bool) -> None:
        """
        Args:
            may_be_open: without a single key, everybody may do everything. For an address that
                others cannot reach.
        """
        self._levels = levels
        self._may_be_open = may_be_open
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[ApiKey]) -> None:
        """Know these keys from now on; what was used of their limits remains."""
        self.keys = tuple(keys)
        self._ring = KeyRing(keys)
        self.is_open = self._may_be_open and not keys

    @property
    def has_valid_key(self) -> bool:
        """Whether anybody at all has a key to come in with."""
        return self._ring.has_valid_key

    def identify(self, headers: Mapping[bytes, bytes]) -> Caller:
        """Return who sent a request with these headers. Raises KeyRefused."""
        return self._ring.identify(headers)

    def admit(self, caller: Caller, describe: LimitHeaders) -> list[Header]:
        """Count a request of `caller`; return the headers that say what is left, by `describe`.

        Raises:
            LimitReached: it has used up its requests or tokens for the moment.
        """
        if caller.limits is None:
            return []
        key = caller.key
        admission = self._levels.admit(key.key_id, caller.limits, monotonic())
        headers = describe(admission)
        if admission.full is not None:
            raise LimitReached(
                admission.full, admission.limit, key.name, admission.retry_after_seconds, headers
            )
        return headers

    def charge(self, caller: Caller, tokens: int) -> None:
        """Count the tokens of a call of `caller` that has ended."""
        if caller.limits is not None and tokens:
            self._levels.charge(caller.key.key_id, caller.limits, tokens, monotonic())
