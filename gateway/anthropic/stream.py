"""Chunks of a chat completion as the events of a Messages stream.

https://platform.claude.com/docs/en/build-with-claude/streaming. Every block is started, filled
and stopped before the next one starts, whatever the order of what the backend sends.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.anthropic.answers import (
    SIGNATURE,
    input_of,
    new_message_id,
    new_tool_use_id,
    stop_of,
    usage_of,
)
from gateway.openai.chunks import ChatChunk, Choice, Delta, ToolCallDelta, Usage
from gateway.openai.completions import arguments_text

PING = b'event: ping\ndata: {"type":"ping"}\n\n'

_DELTA_EVENT = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
)

_encoder = msgspec.json.Encoder()


def message_event(fields: Mapping[str, object]) -> bytes:
    """Return the event of the type that `fields` name; clients go by the line `event:`."""
    name = str(fields["type"]).encode()
    return b"event: %b\ndata: %b\n\n" % (name, _encoder.encode(fields))


class MessageStream:
    """Translates one answer; every method returns the bytes that are due to the client."""

    def __init__(self, *, model: str, stop_sequences: list[str]) -> None:
        self._model = model
        self._stop_sequences = stop_sequences
        self._open: _Block | None = None
        self._waiting: deque[_Block] = deque()
        """Blocks that cannot start yet: a tool call before them is not complete."""
        self._calls: dict[int, _ToolUseBlock] = {}
        self._block_count = 0
        self._space = ""
        """White space that may become the beginning of a text."""
        self._last_choice: Choice | None = None
        self._usage: Usage | None = None

    def start(self, extension: Mapping[str, object]) -> bytes:
        """Begin the message; `extension` are fields that it gets beside Anthropic's."""
        message: dict[str, object] = {
            "id": new_message_id(),
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(None),
            **extension,
        }
        return message_event({"type": "message_start", "message": message}) + PING

    def add(self, chunk: ChatChunk) -> bytes:
        """Translate one chunk, or a complete answer."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        choice = chunk.first_choice
        if choice is None:
            return b""
        if choice.finish_reason is not None:
            self._last_choice = choice
        said = choice.addition
        return b"" if said is None else self._add_delta(said)

    def finish(self) -> bytes:
        """End the message; the backend has said all that it will."""
        rest = b"".join(self._advance(is_over=True)) + self._close()
        stop_reason, stop_sequence = stop_of(
            self._last_choice, has_tool_use=bool(self._calls), known=self._stop_sequences
        )
        message_delta = {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": stop_sequence},
            "usage": usage_of(self._usage),
        }
        return rest + message_event(message_delta) + message_event({"type": "message_stop"})

    def _add_delta(self, delta: Delta) -> bytes:
        due: list[bytes] = []
        if reasoning := delta.reasoning_text:
            due += self._add_prose(_ThinkingBlock, reasoning)
        for text in (delta.content, delta.refusal):
            if text:
                due += self._add_text(text)
        for position, call in enumerate(delta.tool_calls or ()):
            due += self._add_call(call, position)
        return due[0] if len(due) == 1 else b"".join(due)

    def _add_text(self, text: str) -> list[bytes]:
        if not isinstance(self._last_block, _TextBlock):
            # Models write line ends between reasoning and calls; that is no text block.
            text = self._space + text
            if text.isspace():
                self._space = text
                return []
        return self._add_prose(_TextBlock, text)

    def _add_prose(self, kind: "type[_TextBlock | _ThinkingBlock]", text: str) -> list[bytes]:
        self._space = ""
        block = self._last_block
        if not isinstance(block, kind):
            block = kind()
            self._waiting.append(block)
        return self._write(block, text)

    def _add_call(self, call: ToolCallDelta, position: int) -> list[bytes]:
        self._space = ""
        # The calls of a complete answer have no index.
        index = position if call.index is None else call.index
        block = self._calls.get(index)
        if block is None:
            block = self._calls[index] = _ToolUseBlock()
            self._waiting.append(block)
        block.tool_use_id = block.tool_use_id or call.id or ""
        if call.function is None:
            return self._advance()
        block.name = block.name or call.function.name or ""
        return self._write(block, arguments_text(call.function.arguments))

    @property
    def _last_block(self) -> "_Block | None":
        return self._waiting[-1] if self._waiting else self._open

    def _write(self, block: "_Block", text: str) -> list[bytes]:
        if block is not self._open:
            block.held.append(text)
            return self._advance()
        due = [block.delta(text)] if text else []
        return due + self._advance() if self._waiting else due

    def _advance(self, *, is_over: bool = False) -> list[bytes]:
        """Start the waiting blocks that may start."""
        due: list[bytes] = []
        while self._waiting and (
            is_over or (self._waiting[0].can_start and (self._open is None or self._open.can_stop))
        ):
            due.append(self._close())
            block = self._open = self._waiting.popleft()
            block.index = self._block_count
            self._block_count += 1
            due.append(
                message_event(
                    {
                        "type": "content_block_start",
                        "index": block.index,
                        "content_block": block.content_block(),
                    }
                )
            )
            if text := "".join(block.held):
                due.append(block.delta(text))
        return due

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        stop = message_event({"type": "content_block_stop", "index": self._open.index})
        last, self._open = self._open.last_delta(), None
        return last + stop


class _Block(ABC):
    """One content block, from its first piece to its stop."""

    __slots__ = ("held", "index")

    def __init__(self) -> None:
        self.index = 0
        self.held: list[str] = []
        """What came before the block could start."""

    @property
    def can_start(self) -> bool:
        return True

    @property
    def can_stop(self) -> bool:
        """Whether the next block may follow, since no more of this one can come."""
        return True

    @abstractmethod
    def content_block(self) -> dict[str, Any]:
        """Return the block as it is before its deltas."""

    @abstractmethod
    def delta(self, text: str) -> bytes:
        """Return the event for one more piece."""

    def last_delta(self) -> bytes:
        """Return what is due before the block's stop."""
        return b""

    def _delta_event(self, prefix: bytes, text: str) -> bytes:
        # Once for each token: only the text is encoded.
        return (_DELTA_EVENT + prefix + b"%b}}\n\n") % (self.index, _encoder.encode(text))


class _TextBlock(_Block):
    __slots__ = ()

    def content_block(self) -> dict[str, Any]:
        return {"type": "text", "text": ""}

    def delta(self, text: str) -> bytes:
        return self._delta_event(b'{"type":"text_delta","text":', text)


class _ThinkingBlock(_Block):
    __slots__ = ()

    def content_block(self) -> dict[str, Any]:
        return {"type": "thinking", "thinking": "", "signature": ""}

    def delta(self, text: str) -> bytes:
        return self._delta_event(b'{"type":"thinking_delta","thinking":', text)

    def last_delta(self) -> bytes:
        return self._delta_event(b'{"type":"signature_delta","signature":', SIGNATURE)


class _ToolUseBlock(_Block):
    """A call; arguments that begin with no brace are kept back, since they make no object."""

    __slots__ = ("_arguments", "_is_object", "name", "tool_use_id")

    def __init__(self) -> None:
        super().__init__()
        self.tool_use_id = ""
        self.name = ""
        self._arguments: list[str] = []
        self._is_object = False

    @property
    def can_start(self) -> bool:
        return bool(self.name)

    @property
    def can_stop(self) -> bool:
        arguments = "".join(self._arguments)
        try:
            msgspec.json.decode(arguments)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def content_block(self) -> dict[str, Any]:
        tool_use_id = self.tool_use_id or new_tool_use_id()
        return {"type": "tool_use", "id": tool_use_id, "name": self.name, "input": {}}

    def delta(self, text: str) -> bytes:
        self._arguments.append(text)
        if not self._is_object:
            text = "".join(self._arguments)
            self._is_object = text.lstrip().startswith("{")
        return self._json_delta(text) if self._is_object else b""

    def last_delta(self) -> bytes:
        text = "".join(self._arguments)
        if self._is_object or not text.strip():
            return b""
        return self._json_delta(bytes(input_of(text)).decode())

    def _json_delta(self, text: str) -> bytes:
        return self._delta_event(b'{"type":"input_json_delta","partial_json":', text)
