"""Memory that a process and those forked from it have in common, changed by one at a time."""

import fcntl
import mmap
import tempfile
from types import TracebackType


class SharedMemory:
    """A block of zeros at first. As a context manager, it is this process's alone.

    The lock is the kernel's on a file (POSIX record locks): a process that dies gives it back,
    which a lock that lives in the memory itself would not.
    """

    def __init__(self, size: int) -> None:
        self.buffer = mmap.mmap(-1, size)
        self._lock_file = tempfile.TemporaryFile()  # noqa: SIM115 - held as long as the memory
        self._descriptor = self._lock_file.fileno()

    def __enter__(self) -> mmap.mmap:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        return self.buffer

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
