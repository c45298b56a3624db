"""Cuts a server-sent event stream into its events (WHATWG HTML, section 9.2)."""

import re

import msgspec
from msgspec import Struct, json

from gateway.openai.chunks import ChatChunk

DONE = b"[DONE]"

MAX_EVENT_BYTES = 32 * 1024 * 1024

# Atomic groups: CR LF must never be taken for two line ends.
_EVENT_END = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseEvent(Struct):
    """One event of a stream."""

    raw: bytes
    """Its bytes as they came, the blank line that ends it included."""
    data: bytes | None
    """Its data lines joined by line feeds; None for a comment or a keep-alive."""
    chunk: ChatChunk | None = None
    """What it says as part of a chat completion, once that was read and if it could be."""


class EventTooLong(ValueError):
    """An event is longer than `MAX_EVENT_BYTES`."""


class SseSplitter:
    """Collects bytes that may be cut anywhere and gives back whole events."""

    def __init__(self) -> None:
        self._buffer = b""
        self._searched = 0

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that are complete with `data`. Raises EventTooLong."""
        buffer = self._buffer + data if self._buffer else data
        events = []
        start = 0
        search_from = self._searched
        while (end := _EVENT_END.search(buffer, search_from)) is not None:
            # A CR at the very end may be the first half of a CR LF.
            if end.end() == len(buffer) and buffer.endswith(b"\r"):
                break
            events.append(_read_event(buffer[start : end.end()]))
            start = search_from = end.end()
        self._buffer = buffer[start:]
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EventTooLong(f"an event is longer than {MAX_EVENT_BYTES} bytes")
        # The longest line ends that may be cut by the end of the buffer: CR LF CR.
        self._searched = max(0, len(self._buffer) - 3)
        return events

    def flush(self) -> list[SseEvent]:
        """Return the last event of the stream, where it lacks only its blank line.

        Servers forget that line. What is no more than part of an event is dropped: its data is
        no JSON, and no client could read it.
        """
        rest, self._buffer, self._searched = self._buffer, b"", 0
        if not _EVENT_END.search(rest, max(0, len(rest) - 4)):
            rest = rest.rstrip(b"\r\n") + b"\n\n"
        event = _read_event(rest)
        return [event] if event.data is not None and _is_whole(event.data) else []


def _read_event(raw: bytes) -> SseEvent:
    if raw.startswith(b"data: ") and raw.find(b"\n", 0, -2) < 0 and b"\r" not in raw:
        return SseEvent(raw, raw[6:-2])
    lines = []
    for line in _LINE_END.split(raw):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return SseEvent(raw, b"\n".join(lines) if lines else None)


def _is_whole(data: bytes) -> bool:
    if data == DONE:
        return True
    try:
        json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
