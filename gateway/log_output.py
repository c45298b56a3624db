"""Writes log lines to a stream, those of requests some at a time."""

import asyncio
import atexit
from typing import BinaryIO

_GATHERING_SECONDS = 0.02


class LogOutput:
    """Lines on their way to `stream`, in their order.

    A line of its own costs a request more than all of its parts together, so `info` lets lines
    wait a moment for more. Everything else is written at once, as is every line where no event
    loop runs or `gathers` is False. A process that is killed loses the lines of that moment.
    """

    def __init__(self, stream: BinaryIO, *, gathers: bool) -> None:
        self._stream = stream
        self._gathers = gathers
        self._lines: list[bytes] = []
        atexit.register(self.flush)

    def info(self, line: bytes | str) -> None:
        """Write `line` soon."""
        self._lines.append(_to_bytes(line))
        if len(self._lines) > 1:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._gathers:
            loop.call_later(_GATHERING_SECONDS, self.flush)
        else:
            self.flush()

    def write_now(self, line: bytes | str) -> None:
        """Write what waits, and `line`."""
        self._lines.append(_to_bytes(line))
        self.flush()

    # The methods that structlog calls by the names of levels.
    debug = warning = error = critical = fatal = exception = msg = log = write_now

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        if lines:
            self._stream.write(b"\n".join(lines) + b"\n")
            self._stream.flush()


class TextOutput:
    """`LogOutput` as the text stream that the standard library's handlers write to."""

    def __init__(self, output: LogOutput) -> None:
        self._output = output

    def write(self, text: str) -> None:
        self._output.write_now(text.removesuffix("\n"))

    def flush(self) -> None:
        """Nothing waits."""


def _to_bytes(line: bytes | str) -> bytes:
    return line if isinstance(line, bytes) else line.encode(errors="backslashreplace")
