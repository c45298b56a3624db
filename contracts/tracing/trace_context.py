"""W3C Trace Context, https://www.w3.org/TR/trace-context/: a place in a trace."""

import random
import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1

# Not the shared generator: what seeds that one must not make two processes' IDs alike.
_ids = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span, as others refer to it."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0."""
    is_sampled: bool

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """Read a `traceparent`; None where there is none, or an invalid one."""
        match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
        if match is None or match[1] == "ff":
            return None
        trace_id, span_id = int(match[2], 16), int(match[3], 16)
        if not trace_id or not span_id:
            return None
        return cls(trace_id, span_id, bool(int(match[4], 16) & _SAMPLED))

    @classmethod
    def new(cls, *, is_sampled: bool) -> Self:
        """Begin a trace."""
        return cls(_ids.getrandbits(128) or 1, _new_span_id(), is_sampled)

    def child(self) -> "TraceContext":
        """Return a new span of the same trace."""
        return TraceContext(self.trace_id, _new_span_id(), self.is_sampled)

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def _new_span_id() -> int:
    return _ids.getrandbits(64) or 1


outgoing_traceparent: ContextVar[str | None] = ContextVar("outgoing_traceparent", default=None)
"""What a call of the encoder carries along; None where nothing is traced."""
