"""Has a stream read by a thread of its own, while what came before is worked on."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")
_LOOK_SECONDS = 0.2
"""How often a thread that waits looks whether the other side has ended."""


class ReadAhead(Generic[Item]):
    """Items of a stream, up to `limit` of them read before they are asked for.

    A context manager: at its end the thread has ended, whether the stream was exhausted or not.
    What the stream raises is raised to who reads the items.
    """

    def __init__(self, stream: Generator[Item, None, None], limit: int) -> None:
        self._stream = stream
        self._items: Queue[Item] = Queue(limit)
        self._is_left = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._take()

    def __exit__(self, *_: object) -> None:
        self._is_left.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            # Closed here, where it ran: what it holds is not to be left to the collector.
            with closing(self._stream):
                for item in self._stream:
                    if not self._put(item):
                        return
        except BaseException as error:  # noqa: BLE001  # it is raised where the items are read
            self._error = error

    def _put(self, item: Item) -> bool:
        """Wait for room; False where nobody reads any more."""
        while not self._is_left.is_set():
            try:
                self._items.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return True
        return False

    def _take(self) -> Iterator[Item]:
        while True:
            # Asked before the queue is looked into: what a thread put in before it ended is there.
            is_read = not self._thread.is_alive()
            try:
                yield self._items.get(timeout=0 if is_read else _LOOK_SECONDS)
            except Empty:
                if is_read:
                    break
        if self._error is not None:
            raise self._error
