"""One file of the spool."""

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.spool.records import MARKER_BYTES

_NAME = re.compile(rf"(\d{{12,}})-([0-9a-f]{{{2 * MARKER_BYTES}}})\.segment")


@dataclass(eq=False, slots=True)
class Segment:
    """A file of records in the order they were written. Offsets and sizes are in bytes."""

    path: Path
    number: int
    """Segments of a directory are numbered in the order of their events."""
    marker: bytes
    size: int = 0
    read_offset: int = 0
    """Up to here, events have been handed over to be shipped."""
    unread_events: int | None = 0
    """Events from `read_offset` on; None where nobody has counted them yet."""
    outstanding: dict[int, None] = field(default_factory=dict)
    """Where events start that were handed over and are not acknowledged, in their order."""
    is_sealed: bool = False
    """Nothing is appended any more."""

    @classmethod
    def new(cls, folder: Path, number: int) -> "Segment":
        """Return a segment whose file is still to be made."""
        marker = secrets.token_bytes(MARKER_BYTES)
        return cls(folder / f"{number:012d}-{marker.hex()}.segment", number, marker)

    @classmethod
    def found_at(cls, path: Path) -> "Segment | None":
        """Return the segment that another process left at `path`; None if it is no segment."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(
            path,
            int(match[1]),
            bytes.fromhex(match[2]),
            size=path.stat().st_size,
            unread_events=None,
            is_sealed=True,
        )

    @property
    def has_unread(self) -> bool:
        return self.read_offset < self.size

    @property
    def is_settled(self) -> bool:
        """Every event written so far is acknowledged."""
        return not self.has_unread and not self.outstanding

    @property
    def progress(self) -> int:
        """The offset before which every event is acknowledged."""
        return next(iter(self.outstanding), self.read_offset)

    def load(self, start: int, end: int) -> bytes:
        """Read the bytes from `start` to `end`, or fewer where the file is shorter."""
        with self.path.open("rb", buffering=0) as stream:
            parts = []
            while start < end and (part := os.pread(stream.fileno(), end - start, start)):
                parts.append(part)
                start += len(part)
        return b"".join(parts)


class Place(NamedTuple):
    """Where an event stands in the spool."""

    segment: Segment
    start: int
    """Offset in bytes."""
