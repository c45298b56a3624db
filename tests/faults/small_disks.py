"""Disks that a test can fill: a tmpfs for each, shrunk to what is on it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ROOM = 64 * 1024
"""What is left on a full disk, for what is being written meanwhile."""
_FILL_ATTEMPTS = 20


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs."""

    path: Path
    size: int
    """Bytes, while it is not full."""

    def fill(self) -> None:
        """Make it as large as what is on it, so that the next write finds no space."""
        for attempt in range(1, _FILL_ATTEMPTS + 1):
            usage = os.statvfs(self.path)
            used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            try:
                self._resize(used + attempt * _ROOM)
            except OSError:
                # More was written since: a disk cannot be smaller than what is on it.
                if attempt == _FILL_ATTEMPTS:
                    raise
            else:
                return

    def empty(self) -> None:
        """Give it its size back."""
        self._resize(self.size)

    def _resize(self, size: int) -> None:
        _mount("-o", f"remount,size={size}", str(self.path))


@contextmanager
def small_disk(path: Path, *, size: int) -> Iterator[SmallDisk]:
    """Mount a disk of `size` bytes at `path`; what is on it is gone at the end."""
    path.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(path))
    try:
        yield SmallDisk(path, size)
    finally:
        # Lazily: a process that is being killed may hold a file there for a moment.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(*arguments: str) -> None:
    result = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise OSError(f"mount {' '.join(arguments)}: {result.stderr.strip()}")
