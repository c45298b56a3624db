"""How a call is carried out with a backend, in one API or another.

A backend is asked in OpenAI's chat completions, into which every dialect translates, or in the
client's own dialect where it speaks that too; then the client's own bytes go through. An exchange
is the one or the other: it makes the request, reads the answer for the record, and has the writer
that brings the answer to the client.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway.backends.requests import Api
from gateway.chat.writers import AnswerWriter
from gateway.openai.answers import Answer
from gateway.openai.sse import SseEvent
from knowledge.composition import ComposedContext


class StreamRecorder(Protocol):
    """Reads a streamed answer event by event and puts it together for the record."""

    has_output: bool
    """A token has come: text, reasoning, a refusal or part of a tool call."""
    is_finished: bool
    """The backend said why the answer ended, so that nothing of it is missing."""
    is_over: bool
    """The last event has come: the API's word for the end, or an error."""
    error: str | None
    """What the backend said went wrong in mid-stream."""

    def add(self, event: SseEvent) -> None:
        """Read one event, and set its `chunk`. What cannot be read is survived, not recorded."""
        ...

    def missing_end(self) -> list[SseEvent]:
        """Return the events that end a finished answer whose backend just stopped."""
        ...

    def answer(self) -> Answer:
        """Return what has come so far."""
        ...


class Exchange(Protocol):
    """One call in one API of the backend."""

    api: Api
    headers: Mapping[str, str]
    """Those of the client's that the backend gets."""
    writer: AnswerWriter

    def body(self, context: ComposedContext | None, *, model: str) -> bytes:
        """Return the request's body.

        Args:
            context: what retrieval adds to the last user turn.
            model: the backend's own name for the model.
        """
        ...

    def read_body(self, body: bytes) -> Answer:
        """Read an answer that is not streamed. Raises NoAnswer."""
        ...

    def new_recorder(self) -> StreamRecorder:
        """Return what reads a streamed answer."""
        ...
