"""The history of a run, Jepsen's way: who began what, and what came of it, in order.

A file of JSON lines that is only appended to. A call is `invoke`d and then `ok` (the client had the
last byte of an answer), `fail` (it was told that there is none) or `unknown`. A call without an
outcome is unknown too: whoever made it died.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

Outcome = Literal["ok", "fail", "unknown"]
CallKind = Literal["chat", "embeddings"]


class Told(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an answer told the client, as far as rows must agree with it."""

    text: str | None = None
    tools: list[str] = []
    """Names of the functions that were called, in order."""
    has_searched: bool = False
    has_sources: bool = False
    """Passages came into the prompt."""
    has_embedded: bool = False
    """The encoder was asked, successfully."""
    response_id: str | None = None
    """Of a response that the gateway promised to keep."""


class Invoked(msgspec.Struct, tag="invoke", kw_only=True):
    """A client sends a request."""

    at: float
    correlation_id: str
    kind: CallKind
    request: str
    """What was asked, for people."""


class Ended(msgspec.Struct, tag="end", kw_only=True, omit_defaults=True):
    """A client knows, or will never know, what came of its request."""

    at: float
    correlation_id: str
    outcome: Outcome
    told: Told | None = None
    """Of an `ok`."""
    detail: str = ""


class Persisted(msgspec.Struct, tag="row", kw_only=True):
    """The call was first seen in PostgreSQL."""

    at: float
    correlation_id: str


class Fault(msgspec.Struct, tag="fault", kw_only=True):
    """A fault began or was ended."""

    at: float
    fault: str
    """Such as `kill`."""
    target: str
    phase: Literal["start", "stop"]
    detail: str = ""


class Observation(msgspec.Struct, tag="observation", kw_only=True):
    """Something that a part said of itself."""

    at: float
    what: str
    value: float


Entry = Invoked | Ended | Persisted | Fault | Observation


class HistoryFile:
    """Appends entries to a file; a context manager."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("ab", buffering=0)
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    @property
    def now(self) -> float:
        """Seconds since the history began, by a clock that nobody sets."""
        return round(time.monotonic() - self._started, 3)

    def append(self, make: Callable[..., Entry], **fields: Any) -> None:
        """Write one entry of this moment."""
        self._stream.write(msgspec.json.encode(make(at=self.now, **fields)) + b"\n")


def read_history(file: Path) -> Iterator[Entry]:
    """Yield the entries of `file` in their order."""
    decoder = msgspec.json.Decoder(Entry)
    with file.open("rb") as lines:
        for line in lines:
            yield decoder.decode(line)


@dataclass
class History:
    """A history by what is asked of it."""

    invoked: dict[str, Invoked] = field(default_factory=dict)
    """By correlation ID, as all others."""
    ended: dict[str, Ended] = field(default_factory=dict)
    persisted: dict[str, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    """Begun ones, by `fault target`."""
    observations: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "History":
        """Sort entries. Raises ValueError where a client contradicts itself."""
        history = cls()
        for entry in entries:
            history._add(entry)
        return history

    def _add(self, entry: Entry) -> None:
        match entry:
            case Invoked(correlation_id=key):
                if key in self.invoked:
                    raise ValueError(f"{key} was invoked twice")
                self.invoked[key] = entry
            case Ended(correlation_id=key):
                if key not in self.invoked or key in self.ended:
                    raise ValueError(f"{key} ended twice, or was never invoked")
                self.ended[key] = entry
            case Persisted(correlation_id=key, at=at):
                self.persisted.setdefault(key, at)
            case Fault(phase="start"):
                self.faults[f"{entry.fault} {entry.target}"] += 1
            case Observation(what=what, value=value):
                self.observations.setdefault(what, []).append(value)

    @property
    def outcomes(self) -> Counter[str]:
        """How many calls ended how."""
        counts = Counter[str](each.outcome for each in self.ended.values())
        counts["unknown"] += len(self.invoked) - len(self.ended)
        return counts

    @property
    def delays(self) -> list[float]:
        """Seconds from an answer to the moment its row was seen, for answered calls, sorted."""
        return sorted(
            max(0.0, self.persisted[key] - each.at)
            for key, each in self.ended.items()
            if each.outcome == "ok" and key in self.persisted
        )
