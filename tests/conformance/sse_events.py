"""Reads a whole stream of server-sent events, by the letter and without the gateway's code."""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedEvent:
    """An event with its name; `message` where the stream gives none."""

    name: str
    data: Any
    """Decoded JSON; the text where it is none."""


def read_events(stream: bytes) -> list[NamedEvent]:
    """Return the events. Raises AssertionError where the stream does not end with one's end."""
    text = stream.decode()
    assert not text or text.endswith("\n\n")
    events = []
    for block in text.split("\n\n"):
        name, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            assert field != "id", "no event may have an ID"
            if field == "event":
                name = value.removeprefix(" ")
            elif field == "data":
                data.append(value.removeprefix(" "))
        if data:
            joined = "\n".join(data)
            events.append(NamedEvent(name, joined if joined == "[DONE]" else json.loads(joined)))
    return events
