"""What the recorders of the three servers have in common."""

import json
from typing import Protocol

from tests.support.recorded_answers.turns import Turn

DONE = b"data: [DONE]\n\n"
CREATED = 1_700_000_000


class Recorder(Protocol):
    """Writes the answers of one server, byte for byte as it would."""

    kind: str
    """As in the setting `backends.kind`."""
    model: str
    """The name of the model that answers."""

    def stream(
        self, turn: Turn, *, usage: bool = True, whole_calls: bool = False, mixes: bool = False
    ) -> list[bytes]:
        """Return the events of a streamed answer, `[DONE]` included.

        Args:
            usage: it was asked for with `stream_options`.
            whole_calls: see `deltas`.
            mixes: see `deltas`.
        """
        ...

    def body(self, turn: Turn) -> bytes:
        """Return the answer that is not streamed."""
        ...

    def error_events(self, message: str) -> list[bytes]:
        """Return the events with which a stream ends that failed."""
        ...

    def refusal(self, message: str) -> bytes:
        """Return the body of an answer with status 400."""
        ...


def event(content: object) -> bytes:
    """Return one event in compact JSON, as all three servers write it."""
    return b"data: " + compact(content) + b"\n\n"


def compact(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
