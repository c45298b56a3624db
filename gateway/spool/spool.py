"""The worker's spool: its own directory, and those of workers that are gone."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import structlog

from contracts.settings import SpoolSettings
from gateway.outgoing_event import OutgoingEvent
from gateway.spool.directory import SpoolCounters, SpoolDirectory
from gateway.spool.records import StoredEvent
from gateway.spool.segment import Place

FULL = "full"
"""The spool has reached `spool.max_bytes`."""

_RETRY_SECONDS = 1.0
"""Between attempts to write to a spool that refused."""
_ADOPTION_SECONDS = 5.0
"""Between looks for directories without a worker; workers that start together come first."""
_PREFIX = "worker-"

_log = structlog.get_logger("gateway.spool")


class Spool:
    """Keeps events on the local disk until the broker has them.

    Every worker has a directory below `root` and holds its lock. A directory with events whose
    lock nobody holds is taken over and shipped by one of the workers that live.
    """

    def __init__(self, root: Path, settings: SpoolSettings) -> None:
        self._root = root
        self._settings = settings
        self._own: SpoolDirectory | None = None
        self._adopted: list[SpoolDirectory] = []
        self._failure: str | None = "not open"
        self._may_write_after = 0.0
        self._next_adoption = 0.0
        self._next_sync = 0.0
        self._is_synced = settings.fsync == "always"
        self.counters = SpoolCounters()

    @property
    def failure(self) -> str | None:
        """Why events cannot be written at the moment; None where they can."""
        return self._failure

    @property
    def stored_bytes(self) -> int:
        return sum(directory.stored_bytes for directory in self._directories())

    @property
    def unread_events(self) -> int:
        """Events that are in the files alone, and not in memory; see `SpoolDirectory`."""
        return sum(directory.unread_events for directory in self._directories())

    @property
    def has_unread(self) -> bool:
        """Whether there are events that are in the files alone."""
        return any(directory.has_unread for directory in self._directories())

    @property
    def is_caught_up(self) -> bool:
        """Whether the worker's own events, at least, are all in memory too."""
        return self._own is None or not self._own.has_unread

    def open(self) -> None:
        """Take a directory. Where that fails, `failure` says why and `tend` tries again."""
        self._next_adoption = monotonic() + _ADOPTION_SECONDS
        self._claim_own()

    def append(self, events: Sequence[OutgoingEvent], *, hand_over: bool) -> bool:
        """Write `events` by one system call and set their places; False if that failed.

        With `hand_over` the caller ships them, which it may do while the spool is caught up;
        else they come back by `read`.
        """
        own = self._own
        if own is None or (self._failure is not None and monotonic() < self._may_write_after):
            return False
        if own.stored_bytes >= self._settings.max_bytes:
            self._refuse(FULL)
            return False
        try:
            own.append(events, hand_over=hand_over, is_synced=self._is_synced)
        except OSError as error:
            self._refuse(_name_of(error))
            return False
        if self._failure is not None:
            self._failure = None
            _log.info("the spool can be written again")
        return True

    async def read(self) -> list[tuple[Place, StoredEvent]]:
        """Take the next events that are in the files alone: some, in their order."""
        for directory in self._directories():
            if directory.has_unread:
                return await directory.read()
        return []

    def settle(self, place: Place) -> None:
        """Note that the event at `place` is acknowledged, or given up."""
        segment = place.segment
        segment.outstanding.pop(place.start, None)
        if segment.is_sealed and segment.is_settled:
            for directory in self._directories():
                directory.remove_if_done(segment)

    def keep_aside(self, name: str, data: bytes) -> Path | None:
        """Keep what cannot be shipped for a person to look at; None if there is no room."""
        return None if self._own is None else self._own.keep_aside(name, data)

    async def tend(self) -> None:
        """What is due about every second: progress, directories without a worker, syncing."""
        now = monotonic()
        if self._own is None:
            self._claim_own()
        try:
            for directory in self._directories():
                directory.tidy()
        except OSError as error:
            self._refuse(_name_of(error))
        for directory in [each for each in self._adopted if each.is_settled]:
            self._adopted.remove(directory)
            directory.close()
        if self._own is not None and now >= self._next_adoption:
            self._next_adoption = now + _ADOPTION_SECONDS
            self._adopt()
        if self._settings.fsync == "interval" and now >= self._next_sync:
            self._next_sync = now + self._settings.fsync_seconds
            await self._sync()

    def close(self) -> None:
        """Let all directories go; what is not acknowledged stays in them."""
        for directory in self._directories():
            directory.close()
        self._own, self._adopted = None, []
        self._failure = "closed"

    def _directories(self) -> list[SpoolDirectory]:
        return self._adopted if self._own is None else [self._own, *self._adopted]

    def _claim_own(self) -> None:
        number = 0
        try:
            while (directory := self._claim(self._root / f"{_PREFIX}{number}")) is None:
                number += 1
        except OSError as error:
            self._refuse(_name_of(error))
            return
        self._own = directory
        self._failure = None

    def _adopt(self) -> None:
        mine = {directory.path for directory in self._directories()}
        try:
            for path in sorted(self._root.glob(f"{_PREFIX}*")):
                if path in mine or not any(path.glob("*.segment")):
                    continue
                directory = self._claim(path)
                if directory is not None:
                    self._adopted.append(directory)
                    self.counters.adopted += 1
                    _log.info("took over the spool of a worker that is gone", directory=str(path))
        except OSError as error:
            _log.warning("cannot look for other workers' spools", error=error.strerror)

    def _claim(self, path: Path) -> SpoolDirectory | None:
        return SpoolDirectory.claim(path, self.counters, segment_bytes=self._settings.segment_bytes)

    async def _sync(self) -> None:
        descriptors = [fd for directory in self._directories() for fd in directory.take_unsynced()]
        if not descriptors:
            return
        try:
            await asyncio.to_thread(_sync_and_close, descriptors)
        except OSError as error:
            self._refuse(_name_of(error))

    def _refuse(self, reason: str) -> None:
        self._may_write_after = monotonic() + _RETRY_SECONDS
        self.counters.write_failures[reason] += 1
        if self._failure != reason:
            self._failure = reason
            _log.error("the spool cannot be written; events stay in memory", reason=reason)


def _sync_and_close(descriptors: Sequence[int]) -> None:
    failure: OSError | None = None
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            failure = error
        finally:
            os.close(descriptor)
    if failure is not None:
        raise failure


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "unknown")
