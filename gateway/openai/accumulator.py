"""Puts a streamed answer together from its deltas, for the record only."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw, Struct

from contracts.payloads import TokenUsage
from gateway.openai.answers import Answer, FunctionCall
from gateway.openai.chunks import Delta, ToolCallDelta, read_chunk
from gateway.openai.completions import arguments_text
from gateway.openai.sse import DONE, SseEvent


class _ErrorMessage(Struct):
    message: str


_error_decoder = msgspec.json.Decoder(_ErrorMessage)


@dataclass(slots=True)
class _CallParts:
    tool_call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class AnswerAccumulator:
    """Collects choice 0 of a stream; other choices are relayed but not recorded.

    See `StreamRecorder`.
    """

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _CallParts] = {}
        self._finish_reason: str | None = None
        self._usage = TokenUsage()
        self.has_output = False
        """Whether a token has come: text, reasoning, a refusal or part of a tool call."""
        self.is_finished = False
        """Whether the backend gave a finish reason."""
        self.is_over = False
        """Whether the stream has come to its end, good or bad."""
        self.error: str | None = None
        """What the backend said went wrong in mid-stream."""

    def add(self, event: SseEvent) -> None:
        """Take in one event and set its `chunk`. What is no chunk is survived, not recorded."""
        data = event.data
        if data is None:
            return
        if data == DONE:
            self.is_over = True
            return
        chunk = event.chunk = read_chunk(data)
        if chunk is None:
            return
        if chunk.has_error:
            self.error = describe_error(chunk.error)
            self.is_over = True
            return
        if chunk.usage is not None:
            self._usage = chunk.usage.recorded()
        for choice in chunk.choices or ():
            if choice.index == 0:
                if choice.finish_reason is not None:
                    self._finish_reason = choice.finish_reason
                    self.is_finished = True
                if choice.delta is not None:
                    self._add_delta(choice.delta)

    def missing_end(self) -> list[SseEvent]:
        """Return the end of a stream that just stopped; clients wait for the word."""
        return [SseEvent(b"data: [DONE]\n\n", DONE)]

    def answer(self) -> Answer:
        """Return what has come so far."""
        calls = [
            FunctionCall(
                position=position,
                tool_call_id=parts.tool_call_id,
                name=parts.name,
                arguments="".join(parts.arguments),
            )
            for position, (_, parts) in enumerate(sorted(self._calls.items()))
        ]
        return Answer(
            message=self._message(calls),
            finish_reason=self._finish_reason,
            tool_calls=calls,
            usage=self._usage,
        )

    def _message(self, calls: list[FunctionCall]) -> dict[str, Any] | None:
        if not self.has_output and not self.is_finished:
            return None
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._content) if self._content or not calls else None,
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._refusal:
            message["refusal"] = "".join(self._refusal)
        if calls:
            message["tool_calls"] = [call.in_chat for call in calls]
        return message

    def _add_delta(self, delta: Delta) -> None:
        if delta.content:
            self._content.append(delta.content)
            self.has_output = True
        if reasoning := delta.reasoning_text:
            self._reasoning.append(reasoning)
            self.has_output = True
        if delta.refusal:
            self._refusal.append(delta.refusal)
            self.has_output = True
        for call in delta.tool_calls or ():
            self._add_call(call)
            self.has_output = True

    def _add_call(self, delta: ToolCallDelta) -> None:
        delta.index = self._index_of(delta)
        parts = self._calls.setdefault(delta.index, _CallParts())
        if delta.id:
            parts.tool_call_id = delta.id
        if delta.function is None:
            return
        if delta.function.name and not parts.name:
            parts.name = delta.function.name
        if arguments := arguments_text(delta.function.arguments):
            parts.arguments.append(arguments)

    def _index_of(self, delta: ToolCallDelta) -> int:
        """Return the call's index; without one, a new ID begins a call, anything else goes on."""
        if delta.index is not None:
            return delta.index
        for index, parts in self._calls.items():
            if delta.id and parts.tool_call_id == delta.id:
                return index
        last = max(self._calls, default=-1)
        return last + 1 if delta.id or last < 0 else last


def describe_error(error: Raw) -> str:
    """Return the message of an error in a stream; the beginning of its JSON where it has none."""
    try:
        return _error_decoder.decode(error).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bytes(error)[:500].decode(errors="replace")
