"""The places of the backends, taken by all workers together."""

import asyncio
import hashlib
import mmap
import struct

from gateway.backends.slots import Slots
from gateway.workers.shared_memory import SharedMemory

_ID = struct.Struct("=Q")
_COUNT = struct.Struct("=i")
_MOST_BACKENDS = 1024
_LOOK_SECONDS = 0.02


class SharedPlaces:
    """How many places of each backend each worker has taken.

    One row for each backend, by name, and in it one count for each worker. All is changed under
    the memory's lock, so that a limit holds exactly; what a dead worker had is given back by its
    number.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._row_size = _ID.size + workers * _COUNT.size
        self._memory = SharedMemory(_MOST_BACKENDS * self._row_size)

    def take(self, backend: str, worker: int, limit: int) -> bool:
        """Count one more for `worker` unless all together have `limit`."""
        with self._memory as buffer:
            row = self._row(buffer, backend)
            if self._sum(buffer, row) >= limit:
                return False
            self._add(buffer, row, worker, 1)
            return True

    def give_back(self, backend: str, worker: int) -> None:
        with self._memory as buffer:
            self._add(buffer, self._row(buffer, backend), worker, -1)

    def count(self, backend: str) -> int:
        """Return how many places all workers have taken."""
        with self._memory as buffer:
            return self._sum(buffer, self._row(buffer, backend))

    def give_back_all(self, worker: int) -> None:
        """Forget what a worker had that has ended."""
        with self._memory as buffer:
            for row in range(0, _MOST_BACKENDS * self._row_size, self._row_size):
                _COUNT.pack_into(buffer, self._place(row, worker), 0)

    def _row(self, buffer: mmap.mmap, backend: str) -> int:
        digest = hashlib.blake2b(backend.encode(), digest_size=_ID.size).digest()
        number = int.from_bytes(digest, "little") or 1
        for step in range(_MOST_BACKENDS):
            row = (number + step) % _MOST_BACKENDS * self._row_size
            (stored,) = _ID.unpack_from(buffer, row)
            if stored in (0, number):
                _ID.pack_into(buffer, row, number)
                return row
        raise MemoryError(f"more than {_MOST_BACKENDS} backends since the start")

    def _sum(self, buffer: mmap.mmap, row: int) -> int:
        counts = struct.unpack_from(f"={self._workers}i", buffer, row + _ID.size)
        return sum(counts)

    def _add(self, buffer: mmap.mmap, row: int, worker: int, step: int) -> None:
        place = self._place(row, worker)
        (count,) = _COUNT.unpack_from(buffer, place)
        _COUNT.pack_into(buffer, place, max(0, count + step))

    def _place(self, row: int, worker: int) -> int:
        return row + _ID.size + worker * _COUNT.size


class SharedSlots(Slots):
    """The places of one backend, of which other workers take some too.

    A place that becomes free here goes to the next who waits here. Those who wait for one that
    another worker frees look for it 50 times a second: the order of arrival holds within a worker.
    """

    def __init__(
        self,
        limit: int | None,
        max_queued: int,
        *,
        backend: str,
        worker: int,
        places: SharedPlaces,
    ) -> None:
        super().__init__(limit, max_queued)
        self._backend = backend
        self._worker = worker
        self._places = places
        self._uncounted = 0
        """Taken while there was no limit."""
        self._look: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        if self._limit is None:
            return True
        return not self.waiting and self._places.count(self._backend) < self._limit

    @property
    def has_queue_room(self) -> bool:
        # Whoever asks is about to wait.
        self._look_soon()
        return super().has_queue_room

    def take(self) -> bool:
        if self._limit is None:
            self._uncounted += 1
        elif self.waiting or not self._places.take(self._backend, self._worker, self._limit):
            return False
        self.in_flight += 1
        return True

    def release(self) -> None:
        if not self._hand_over():
            self.in_flight -= 1
            if self._uncounted:
                self._uncounted -= 1
            else:
                self._places.give_back(self._backend, self._worker)

    def change_limit(self, limit: int | None, max_queued: int) -> None:
        self._limit = limit
        self._max_queued = max_queued
        self._grant()

    def _grant(self) -> None:
        """Let those who wait have what is free."""
        while self.waiting:
            if self._limit is None:
                self._uncounted += 1
            elif not self._places.take(self._backend, self._worker, self._limit):
                return
            self.in_flight += 1
            if not self._hand_over():
                self.release()
                return

    def _look_soon(self) -> None:
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        self._grant()
        if self.waiting:
            self._look_soon()
