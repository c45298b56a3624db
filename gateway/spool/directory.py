"""One worker's part of the spool: its segments, and how far they are acknowledged."""

import asyncio
import errno
import fcntl
import os
import struct
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import structlog

from gateway.outgoing_event import OutgoingEvent
from gateway.spool.records import (
    DamagedBytes,
    StoredEvent,
    encode_head,
    read_all,
    read_intact,
)
from gateway.spool.segment import Place, Segment

_LOCK = "lock"
_PROGRESS = "progress"
_ASIDE = "aside"
_PRIVATE = 0o600
"""The files hold prompts and answers."""

_READ_BYTES = 256 * 1024
"""Read back at one go, and parsed on the event loop."""
_MOST_BUFFERS = 512
"""Linux takes 1,024 buffers in one call."""
_ASIDE_BYTES = 64 * 1024 * 1024

_progress_fields = struct.Struct("<QQ")
_checksum = struct.Struct("<I")

_log = structlog.get_logger("gateway.spool")


@dataclass
class SpoolCounters:
    """What went wrong, counted over all directories of a worker."""

    torn: int = 0
    """Last records that a dead process had not written to their end."""
    corrupt: int = 0
    """Stretches of damaged bytes."""
    write_failures: Counter[str] = field(default_factory=Counter)
    """Refused writes by reason."""
    adopted: int = 0
    """Directories taken over from workers that are gone."""


class SpoolDirectory:
    """The segments of one directory, which this process has locked.

    Events are appended to the newest segment, and a segment is removed when the last of its
    events is acknowledged. A file beside them says how far acknowledgements had come about a
    second ago, so that a restart ships no more than that again.
    """

    def __init__(
        self, path: Path, lock: int, counters: SpoolCounters, *, segment_bytes: int
    ) -> None:
        """Use `claim`."""
        self.path = path
        self._lock = lock
        self._counters = counters
        self._segment_bytes = segment_bytes
        self._segments: dict[int, Segment] = {}
        """By number, in order."""
        self._stored_bytes = 0
        self._next_number = 1
        self._active: Segment | None = None
        self._active_file = -1
        self._size_at_last_tick = 0
        self._unsynced: list[int] = []
        """Descriptors of sealed segments that were not synced."""
        self._is_active_unsynced = False
        self._progress_file = -1
        self._known_progress: tuple[int, int] | None = None

    @classmethod
    def claim(
        cls, path: Path, counters: SpoolCounters, *, segment_bytes: int
    ) -> "SpoolDirectory | None":
        """Lock `path`, made if need be, and find what is in it; None if another has it.

        Raises:
            OSError: it cannot be made or read.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The kernel gives the lock back however its holder ends.
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        directory = cls(path, lock, counters, segment_bytes=segment_bytes)
        try:
            directory._recover()
        except OSError:
            directory.close()
            raise
        return directory

    @property
    def stored_bytes(self) -> int:
        """Bytes of the segments."""
        return self._stored_bytes

    @property
    def has_unread(self) -> bool:
        """Whether there are events that were not handed over yet."""
        return any(segment.has_unread for segment in self._segments.values())

    @property
    def unread_events(self) -> int:
        """Events not handed over; a segment not counted yet stands for one at least."""
        return sum(
            1 if segment.unread_events is None else segment.unread_events
            for segment in self._segments.values()
            if segment.has_unread
        )

    @property
    def is_settled(self) -> bool:
        """Whether every event is acknowledged."""
        return all(segment.is_settled for segment in self._segments.values())

    def append(self, events: Sequence[OutgoingEvent], *, hand_over: bool, is_synced: bool) -> None:
        """Write `events` by one system call and set their places.

        Args:
            hand_over: the caller ships them; else they are read back when their turn comes.
                Only where nothing is unread.
            is_synced: return when they are on the disk.

        Raises:
            OSError: none of them was written.
        """
        segment = self._active
        if segment is None or segment.size >= self._segment_bytes:
            segment = self._begin_segment()
        buffers: list[bytes] = []
        places = []
        end = segment.size
        for event in events:
            head = encode_head(segment.marker, event.subject, event.headers, event.body)
            buffers += (head, event.body)
            places.append(Place(segment, end))
            end += len(head) + len(event.body)
        if len(buffers) > _MOST_BUFFERS:
            buffers = [b"".join(buffers)]
        self._write(segment, buffers, end, is_synced=is_synced)
        self._stored_bytes += end - segment.size
        segment.size = end
        self._is_active_unsynced = not is_synced
        for event, place in zip(events, places, strict=True):
            event.place = place
        if hand_over:
            segment.read_offset = end
            for place in places:
                segment.outstanding[place.start] = None
        elif segment.unread_events is not None:
            segment.unread_events += len(events)

    async def read(self) -> list[tuple[Place, StoredEvent]]:
        """Hand over the next events that were not, in their order; some, not all."""
        segment = next((each for each in self._segments.values() if each.has_unread), None)
        if segment is None:
            return []
        start, size = segment.read_offset, segment.size
        end = min(size, start + _READ_BYTES)
        found: list[tuple[Place, StoredEvent]] = []
        try:
            data = await asyncio.to_thread(segment.load, start, end)
            records = read_intact(data, segment.marker, base=start)
            if records:
                end = records[-1].end
                found = [self._hand_over(segment, record) for record in records]
            else:
                # The first record is longer than that, or damaged.
                data = await asyncio.to_thread(segment.load, start, size)
                end = size
                for item in read_all(data, segment.marker, base=start):
                    if isinstance(item, StoredEvent):
                        found.append(self._hand_over(segment, item))
                    else:
                        self._skip_damage(
                            segment, item, data[item.start - start : item.end - start]
                        )
                if start + len(data) < size:
                    self._count_corrupt(segment, start + len(data), size, "the file is shorter")
        except OSError as error:
            end = size
            self._abandon(segment, start, error)
        segment.read_offset = end
        if segment.unread_events is not None:
            segment.unread_events = max(0, segment.unread_events - len(found))
        self.remove_if_done(segment)
        return found

    def remove_if_done(self, segment: Segment) -> None:
        """Remove the file of `segment` if it is one of these and nobody needs it any more."""
        if not segment.is_sealed or not segment.is_settled:
            return
        if self._segments.get(segment.number) is not segment:
            return
        del self._segments[segment.number]
        self._stored_bytes -= segment.size
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("cannot remove a segment", file=str(segment.path), error=error.strerror)

    def tidy(self) -> None:
        """Remember how far acknowledgements have come; remove what an idle worker has shipped.

        Raises:
            OSError: the progress cannot be written.
        """
        active = self._active
        if active is not None and active.is_settled and active.size == self._size_at_last_tick:
            self._seal()
            self.remove_if_done(active)
        self._size_at_last_tick = 0 if self._active is None else self._active.size
        oldest = next(iter(self._segments.values()), None)
        if oldest is not None:
            self._write_progress(oldest.number, oldest.progress)

    def keep_aside(self, name: str, data: bytes) -> Path | None:
        """Write `data` where nobody reads it but a person; None if there is no room for it."""
        folder = self.path / _ASIDE
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            kept = sum(file.stat().st_size for file in folder.iterdir())
            if kept + len(data) > _ASIDE_BYTES:
                return None
            file = folder / name
            file.touch(mode=_PRIVATE)
            file.write_bytes(data)
        except OSError as error:
            _log.warning("cannot keep bytes aside", file=name, error=error.strerror)
            return None
        return file

    def take_unsynced(self) -> list[int]:
        """Return descriptors of what was written and not synced; the caller closes them."""
        descriptors, self._unsynced = self._unsynced, []
        if self._is_active_unsynced and self._active is not None:
            self._is_active_unsynced = False
            descriptors.append(os.dup(self._active_file))
        return descriptors

    def close(self) -> None:
        """Let the directory go; what is not acknowledged stays in it."""
        self._seal()
        for segment in list(self._segments.values()):
            self.remove_if_done(segment)
        oldest = next(iter(self._segments.values()), None)
        try:
            if oldest is not None:
                self._write_progress(oldest.number, oldest.progress)
        except OSError as error:
            _log.warning("cannot write the spool's progress", error=error.strerror)
        for descriptor in (*self._unsynced, self._progress_file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)

    def _recover(self) -> None:
        progress = self._read_progress()
        found = [Segment.found_at(path) for path in self.path.iterdir()]
        segments = sorted(
            (each for each in found if each is not None), key=lambda each: each.number
        )
        for segment in segments:
            if segment.number < progress[0]:
                segment.read_offset = segment.size
            elif segment.number == progress[0]:
                segment.read_offset = min(progress[1], segment.size)
            self._segments[segment.number] = segment
            self._stored_bytes += segment.size
        self._next_number = max([progress[0], *self._segments]) + 1
        if segments:
            self._cut_torn_tail(segments[-1])
        for segment in segments:
            self.remove_if_done(segment)
        if self._segments:
            _log.info(
                "events of an earlier process wait in the spool",
                directory=str(self.path),
                bytes=sum(each.size - each.read_offset for each in self._segments.values()),
            )

    def _cut_torn_tail(self, segment: Segment) -> None:
        """Cut off what the process that wrote `segment` had not written to its end.

        No answer was complete before its events were written, so nothing answered is in it.
        """
        data = segment.load(segment.read_offset, segment.size)
        segment.unread_events = 0
        for item in read_all(data, segment.marker, base=segment.read_offset):
            if isinstance(item, StoredEvent):
                segment.unread_events += 1
            elif item.is_tail:
                os.truncate(segment.path, item.start)
                self._stored_bytes -= segment.size - item.start
                segment.size = item.start
                self._counters.torn += 1
                _log.warning(
                    "a torn record was cut off the spool",
                    file=str(segment.path),
                    bytes=item.end - item.start,
                )

    def _begin_segment(self) -> Segment:
        self._seal()
        segment = Segment.new(self.path, self._next_number)
        self._active_file = os.open(
            segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE
        )
        self._next_number += 1
        self._segments[segment.number] = segment
        self._active = segment
        return segment

    def _write(self, segment: Segment, buffers: list[bytes], end: int, *, is_synced: bool) -> None:
        try:
            written = os.pwritev(self._active_file, buffers, segment.size)
            if written < end - segment.size:
                # The rest would be refused: this is how a disk that becomes full says so.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301
            if is_synced:
                os.fdatasync(self._active_file)
        except OSError:
            # Whatever arrived must not be taken for a record later.
            try:
                os.ftruncate(self._active_file, segment.size)
            except OSError:
                self._seal()
            raise

    def _seal(self) -> None:
        segment, self._active = self._active, None
        if segment is None:
            return
        segment.is_sealed = True
        if self._is_active_unsynced:
            self._unsynced.append(self._active_file)
            self._is_active_unsynced = False
        else:
            os.close(self._active_file)
        self._active_file = -1

    def _hand_over(self, segment: Segment, record: StoredEvent) -> tuple[Place, StoredEvent]:
        segment.outstanding[record.start] = None
        return Place(segment, record.start), record

    def _skip_damage(self, segment: Segment, damage: DamagedBytes, data: bytes) -> None:
        file = self.keep_aside(f"{segment.path.stem}-{damage.start}.corrupt", data)
        self._count_corrupt(
            segment, damage.start, damage.end, f"kept in {file}" if file else "not kept"
        )

    def _abandon(self, segment: Segment, start: int, error: OSError) -> None:
        """Go on without the rest of a file that cannot be read; it is kept."""
        if segment is self._active:
            self._seal()
        folder = self.path / _ASIDE
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            segment.path.rename(folder / segment.path.name)
        self._count_corrupt(segment, start, segment.size, error.strerror or str(error))

    def _count_corrupt(self, segment: Segment, start: int, end: int, what: str) -> None:
        self._counters.corrupt += 1
        _log.error(
            "damaged bytes in the spool were skipped",
            file=str(segment.path),
            offset=start,
            bytes=end - start,
            what=what,
        )

    def _read_progress(self) -> tuple[int, int]:
        """Return number and offset from which events may be unacknowledged."""
        try:
            data = (self.path / _PROGRESS).read_bytes()
        except FileNotFoundError:
            return 0, 0
        fields = data[: _progress_fields.size]
        if data[_progress_fields.size :] != _checksum.pack(crc32(fields)):
            return 0, 0
        number, offset = _progress_fields.unpack(fields)
        return number, offset

    def _write_progress(self, number: int, offset: int) -> None:
        if self._known_progress == (number, offset):
            return
        if self._progress_file < 0:
            self._progress_file = os.open(
                self.path / _PROGRESS, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _PRIVATE
            )
        fields = _progress_fields.pack(number, offset)
        os.pwrite(self._progress_file, fields + _checksum.pack(crc32(fields)), 0)
        self._known_progress = (number, offset)
