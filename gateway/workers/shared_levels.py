"""What is used of the API keys' limits, by all workers together."""

import mmap
import struct

from gateway.access.rate_limits import Admission, Levels, Limits, admit, charge
from gateway.workers.shared_memory import SharedMemory

_ENTRY = struct.Struct("=Q3d")
"""Key's ID, requests and tokens in the buckets, moment of the figures."""
_NEIGHBOURS = 16


class SharedLevels:
    """A hash table in shared memory; every change is made under its lock, so none is lost.

    A key's entry is within some places of where its ID falls. Where these are taken, the one used
    longest ago gives way, and that key starts with full limits again: with `capacity` four times
    the keys, next to never.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = max(capacity, _NEIGHBOURS)
        self._memory = SharedMemory(self._capacity * _ENTRY.size)

    def admit(self, key_id: str, limits: Limits, now: float) -> Admission:
        number = int(key_id, 16)
        with self._memory as buffer:
            offset, levels = self._find(buffer, number)
            admission = admit(levels, limits, now)
            self._store(buffer, offset, number, levels)
        return admission

    def charge(self, key_id: str, limits: Limits, tokens: int, now: float) -> None:
        number = int(key_id, 16)
        with self._memory as buffer:
            offset, levels = self._find(buffer, number)
            charge(levels, limits, tokens, now)
            self._store(buffer, offset, number, levels)

    def _find(self, buffer: mmap.mmap, number: int) -> tuple[int, Levels]:
        """Return the place of a key, or of the one that gives way to it, and its levels."""
        oldest, oldest_at = 0, float("inf")
        for step in range(_NEIGHBOURS):
            offset = (number + step) % self._capacity * _ENTRY.size
            stored, requests, tokens, at = _ENTRY.unpack_from(buffer, offset)
            if stored == number:
                return offset, Levels(requests, tokens, at)
            if at < oldest_at:
                oldest, oldest_at = offset, at
        return oldest, Levels()

    def _store(self, buffer: mmap.mmap, offset: int, number: int, levels: Levels) -> None:
        _ENTRY.pack_into(buffer, offset, number, levels.requests, levels.tokens, levels.at)
