"""Has a stream read by a thread of its own, while what came before is worked on."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from queue import Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")
_LOOK_SECONDS = 0.2
"""How often a thread that waits for room looks whether anybody still reads."""


class ReadAhead(Generic[Item]):
    """Items of a stream, up to `limit` of them read before they are asked for.

    A context manager: at its end the thread has ended, whether the stream was exhausted or not.
    What the stream raises is raised to who reads the items.
    """

    def __init__(self, stream: Generator[Item, None, None], limit: int) -> None:
        self._stream = stream
        self._items: Queue[Item | _End] = Queue(limit)
        self._is_left = threading.Event()
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
            self._put(_End(error))
        else:
            self._put(_End())

    def _put(self, item: "Item | _End") -> bool:
        """Wait for room; False where nobody reads any more."""
        while not self._is_left.is_set():
            try:
                self._items.put(item, timeout=_LOOK_SECONDS)
            except Full:
                continue
            return True
        return False

    def _take(self) -> Iterator[Item]:
        while not isinstance(item := self._items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error


@dataclass(frozen=True)
class _End:
    """Stands after the last item."""

    error: BaseException | None = None
