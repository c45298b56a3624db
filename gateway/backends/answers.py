"""What a backend gives back, before the gateway has read it."""

from typing import Protocol

from gateway.errors import Header


class BackendAnswer(Protocol):
    """An HTTP answer whose body is read piece by piece."""

    backend: str
    """Name of the backend that answered."""
    path: str
    """What it was asked: tells which API the body belongs to."""
    status: int
    headers: list[Header]
    """Those that are passed on to the client, content-type not among them."""
    content_type: str

    @property
    def is_event_stream(self) -> bool: ...

    async def read_all(self) -> bytes:
        """Return the whole body. Raises BackendError."""
        ...

    async def read_some(self) -> bytes:
        """Return what has come, at least one byte; nothing at the end. Raises BackendError."""
        ...

    async def drain(self) -> None:
        """Read the little that may follow the answer's end, so that the connection is kept."""
        ...

    def close(self) -> None:
        """Cut the connection if the body was not read to its end: the server stops its work.

        Whoever has the answer must close it: its place at the backend becomes free by that.
        """
        ...
