"""Reads a backend's answers in the Messages API for the record, as chat completions are read."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw, Struct

from contracts.payloads import TokenUsage
from gateway.openai.answers import Answer, FunctionCall, NoAnswer
from gateway.openai.sse import SseEvent

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_ABSENT = Raw(b"")
_STOP_EVENT = b'{"type":"message_stop"}'


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Block(Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = _ABSENT


class _Message(Struct):
    type: str
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage = field(default_factory=_Usage)


class _Delta(Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Error(Struct):
    message: str = ""


class _StartedMessage(Struct):
    usage: _Usage | None = None


class _Event(Struct):
    """Any event of a stream; each type has some of the fields."""

    type: str
    index: int = 0
    message: _StartedMessage | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


_message_decoder = msgspec.json.Decoder(_Message)
_event_decoder = msgspec.json.Decoder(_Event)


def read_message(body: bytes) -> Answer:
    """Return what an answer says that is not streamed.

    Raises:
        NoAnswer: the body is no message.
    """
    try:
        if not body.isascii():
            body.decode()
        message = _message_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(str(error)) from error
    if message.type != "message":
        raise NoAnswer(f"it is of type {message.type!r}")
    blocks = [_parts_of(block) for block in message.content]
    return _answer_of(blocks, message.stop_reason, message.usage)


@dataclass(slots=True)
class _BlockParts:
    type: str
    tool_use_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessagesRecorder:
    """Collects a streamed message; see `StreamRecorder`."""

    def __init__(self) -> None:
        self._blocks: dict[int, _BlockParts] = {}
        self._stop_reason: str | None = None
        self._usage = _Usage()
        self.has_output = False
        self.is_finished = False
        self.is_over = False
        self.error: str | None = None

    def add(self, event: SseEvent) -> None:
        if event.data is None:
            return
        try:
            read = _event_decoder.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        self._take_usage(read.usage)
        match read.type:
            case "message_start":
                self._take_usage(None if read.message is None else read.message.usage)
            case "content_block_start" if read.content_block is not None:
                self._blocks[read.index] = _parts_of(read.content_block, is_begun=True)
                self.has_output = True
            case "content_block_delta" if read.delta is not None:
                self._add_delta(read.index, read.delta)
            case "message_delta" if read.delta is not None:
                self._stop_reason = read.delta.stop_reason or self._stop_reason
                self.is_finished = self._stop_reason is not None
            case "message_stop":
                self.is_over = True
            case "error":
                self.error = event.data[:500].decode(errors="replace")
                if read.error is not None and read.error.message:
                    self.error = read.error.message
                self.is_over = True

    def missing_end(self) -> list[SseEvent]:
        return [SseEvent(b"event: message_stop\ndata: " + _STOP_EVENT + b"\n\n", _STOP_EVENT)]

    def answer(self) -> Answer:
        blocks = [parts for _, parts in sorted(self._blocks.items())]
        answer = _answer_of(blocks, self._stop_reason, self._usage)
        if not self.has_output and not self.is_finished:
            answer.message = None
        return answer

    def _add_delta(self, index: int, delta: _Delta) -> None:
        if piece := delta.text or delta.thinking or delta.partial_json:
            self._blocks.setdefault(index, _BlockParts("text")).pieces.append(piece)
            self.has_output = True

    def _take_usage(self, usage: _Usage | None) -> None:
        """Counts are totals so far, and only some of them come at the end."""
        if usage is None:
            return
        for name in _Usage.__struct_fields__:
            if (count := getattr(usage, name)) is not None:
                setattr(self._usage, name, count)


def _parts_of(block: _Block, *, is_begun: bool = False) -> _BlockParts:
    """Return a block's parts; of a tool call that has only begun, `input` is a placeholder."""
    parts = _BlockParts(block.type, block.id, block.name)
    if piece := block.text or block.thinking:
        parts.pieces.append(piece)
    elif block.input != _ABSENT and not is_begun:
        parts.pieces.append(bytes(block.input).decode())
    return parts


def _answer_of(blocks: list[_BlockParts], stop_reason: str | None, usage: _Usage) -> Answer:
    texts = [block.text for block in blocks if block.type == "text"]
    thoughts = [block.text for block in blocks if block.type == "thinking"]
    calls = [
        FunctionCall(position, block.tool_use_id, block.name, block.text or "{}")
        for position, block in enumerate(block for block in blocks if block.type == "tool_use")
    ]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
    }
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = [call.in_chat for call in calls]
    finish_reason = None if stop_reason is None else _FINISH_REASONS.get(stop_reason, stop_reason)
    return Answer(message, finish_reason, calls, _recorded(usage))


def _recorded(usage: _Usage) -> TokenUsage:
    prompt_tokens = total_tokens = None
    if usage.input_tokens is not None:
        cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        prompt_tokens = usage.input_tokens + cached
        total_tokens = prompt_tokens + (usage.output_tokens or 0)
    return TokenUsage(
        prompt_tokens=prompt_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=total_tokens,
        cache_read_tokens=usage.cache_read_input_tokens,
        cache_creation_tokens=usage.cache_creation_input_tokens,
    )
