"""Puts a streamed answer together from its deltas, for the record only."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from contracts.payloads import TokenUsage
from gateway.openai.answers import Answer, FunctionCall
from gateway.openai.completions import arguments_text

_ABSENT = Raw(b"null")


class _FunctionDelta(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _ToolCallDelta(Struct):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _FunctionDelta | None = None


class _Delta(Struct):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCallDelta] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    choices: list[_Choice] | None = None
    usage: TokenUsage | None = None
    error: Raw = _ABSENT


class _ErrorMessage(Struct):
    message: str


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_error_decoder = msgspec.json.Decoder(_ErrorMessage)


class ChunkKind(NamedTuple):
    """What the relay must know of a chunk."""

    is_object: bool
    """It is a JSON object of a chunk's shape."""
    is_usage_only: bool = False
    """It carries the usage and no choice: the chunk that `include_usage` asks for."""


_UNREADABLE = ChunkKind(is_object=False)
_PLAIN = ChunkKind(is_object=True)
_USAGE_ONLY = ChunkKind(is_object=True, is_usage_only=True)


@dataclass(slots=True)
class _CallParts:
    tool_call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class AnswerAccumulator:
    """Collects choice 0 of a stream; other choices are relayed but not recorded."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, _CallParts] = {}
        self._finish_reason: str | None = None
        self._usage = TokenUsage()
        self._error: str | None = None

    @property
    def has_output(self) -> bool:
        """Whether a token has come: text, reasoning, a refusal or part of a tool call."""
        return bool(self._content or self._reasoning or self._refusal or self._calls)

    @property
    def is_finished(self) -> bool:
        """Whether the backend gave a finish reason."""
        return self._finish_reason is not None

    @property
    def error(self) -> str | None:
        """What the backend said went wrong in mid-stream."""
        return self._error

    def add(self, data: bytes) -> ChunkKind:
        """Take in one event's data. What is no chunk is survived and not recorded."""
        try:
            chunk = _chunk_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _UNREADABLE
        if chunk.error != _ABSENT:
            self._error = _describe_error(chunk.error)
            return _PLAIN
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            return _PLAIN if chunk.usage is None else _USAGE_ONLY
        for choice in chunk.choices:
            if choice.index == 0:
                if choice.finish_reason is not None:
                    self._finish_reason = choice.finish_reason
                if choice.delta is not None:
                    self._add_delta(choice.delta)
        return _PLAIN

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
            message["tool_calls"] = [
                {
                    "id": call.tool_call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in calls
            ]
        return message

    def _add_delta(self, delta: _Delta) -> None:
        if delta.content:
            self._content.append(delta.content)
        # Newer vLLM names the field `reasoning`; a server that sends both sends the same text.
        if reasoning := delta.reasoning_content or delta.reasoning:
            self._reasoning.append(reasoning)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for call in delta.tool_calls or ():
            self._add_call(call)

    def _add_call(self, delta: _ToolCallDelta) -> None:
        parts = self._calls.setdefault(self._index_of(delta), _CallParts())
        if delta.id:
            parts.tool_call_id = delta.id
        if delta.function is None:
            return
        if delta.function.name and not parts.name:
            parts.name = delta.function.name
        if arguments := arguments_text(delta.function.arguments):
            parts.arguments.append(arguments)

    def _index_of(self, delta: _ToolCallDelta) -> int:
        """Return the call's index; without one, a new ID begins a call, anything else goes on."""
        if delta.index is not None:
            return delta.index
        for index, parts in self._calls.items():
            if delta.id and parts.tool_call_id == delta.id:
                return index
        last = max(self._calls, default=-1)
        return last + 1 if delta.id or last < 0 else last


def _describe_error(error: Raw) -> str:
    try:
        return _error_decoder.decode(error).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bytes(error)[:500].decode(errors="replace")
