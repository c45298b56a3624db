"""Turns items into the messages of a chat completion."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import InvalidRequest
from gateway.responses.content import chat_content, text_of
from gateway.responses.items import (
    CustomToolCall,
    FunctionCall,
    Item,
    Message,
    Reasoning,
    ReasoningText,
    ToolCallOutput,
    is_cut_call,
    read_item,
)
from gateway.responses.reasoning import unseal_reasoning
from gateway.responses.tools import wrap_custom_input

ChatMessage = dict[str, Any]

_PARAGRAPH = "\n\n"


@dataclass
class _AssistantTurn:
    """Reasoning, text and calls of one turn: three kinds of items, one chat message."""

    reasoning: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def message(self) -> ChatMessage:
        message: ChatMessage = {
            "role": "assistant",
            "content": _PARAGRAPH.join(self.content) if self.content or not self.calls else None,
        }
        if self.reasoning:
            message["reasoning_content"] = _PARAGRAPH.join(self.reasoning)
        if self.calls:
            message["tool_calls"] = self.calls
        return message


class Conversation:
    """Collects items, in order, as chat messages."""

    def __init__(self, instructions: str | None) -> None:
        self._system: list[str] = [instructions] if instructions else []
        self._messages: list[ChatMessage] = []
        self._turn: _AssistantTurn | None = None
        self._open_calls: dict[str, None] = {}
        """IDs of calls that have no output yet, in order."""
        self._answered_calls: set[str] = set()

    def add(self, items: Iterable[Item], path: str) -> None:
        """Take in more items; `path` names their list in an error.

        Raises:
            InvalidRequest: an item is malformed, or gives the output of a call that was not made.
        """
        for index, item in enumerate(items):
            if is_cut_call(item):
                continue
            self._add(read_item(item, f"{path}[{index}]"), f"{path}[{index}]")

    def messages(self) -> list[ChatMessage]:
        """Return the chat messages.

        Raises:
            InvalidRequest: a call has no output, or there is nothing to answer.
        """
        self._end_turn()
        for call_id in self._open_calls:
            raise InvalidRequest(
                f"No tool output found for function call {call_id}.", param="input", code=None
            )
        messages = self._messages
        if self._system:
            # One system message, and that the first: many chat templates refuse another.
            messages = [{"role": "system", "content": _PARAGRAPH.join(self._system)}, *messages]
        if not messages:
            raise InvalidRequest("'input' is empty.", param="input", code="empty_array")
        return messages

    def _add(self, item: object, path: str) -> None:
        match item:
            case Message(role="assistant"):
                self._add_assistant_text(text_of(item.content, f"{path}.content"))
            case Message():
                self._add_message(item, path)
            case Reasoning():
                self._add_reasoning(item)
            case FunctionCall():
                self._add_call(item.call_id, item.name, item.arguments)
            case CustomToolCall():
                self._add_call(item.call_id, item.name, wrap_custom_input(item.input))
            case ToolCallOutput():
                self._add_output(item, path)
            case _:
                # A file search has done its work, and a reference has been put in by now.
                pass

    def _add_message(self, message: Message, path: str) -> None:
        self._end_turn()
        content = chat_content(message.content, f"{path}.content")
        is_instruction = message.role in ("system", "developer")
        if is_instruction and not self._messages and isinstance(content, str):
            self._system.append(content)
            return
        role = "system" if is_instruction else message.role
        self._messages.append({"role": role, "content": content})

    def _add_assistant_text(self, text: str) -> None:
        if self._turn is not None and self._turn.content and not self._turn.calls:
            self._end_turn()
        self._open_turn().content.append(text)

    def _add_reasoning(self, item: Reasoning) -> None:
        text = _texts(item.content) or _texts(item.summary)
        if not text and item.encrypted_content is not None:
            text = unseal_reasoning(item.encrypted_content)
        if not text:
            return
        if self._turn is not None and self._turn.content and not self._turn.calls:
            self._end_turn()
        self._open_turn().reasoning.append(text)

    def _add_call(self, call_id: str, name: str, arguments: str) -> None:
        self._open_turn().calls.append(
            {
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
        )
        self._open_calls[call_id] = None

    def _add_output(self, item: ToolCallOutput, path: str) -> None:
        self._end_turn()
        if item.call_id in self._open_calls:
            del self._open_calls[item.call_id]
            self._answered_calls.add(item.call_id)
        elif item.call_id not in self._answered_calls:
            raise InvalidRequest(
                f"No tool call found for function call output with call_id {item.call_id}.",
                param="input",
                code=None,
            )
        content = chat_content(item.output, f"{path}.output")
        self._messages.append({"role": "tool", "tool_call_id": item.call_id, "content": content})

    def _open_turn(self) -> _AssistantTurn:
        if self._turn is None:
            self._turn = _AssistantTurn()
        return self._turn

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._messages.append(self._turn.message())
            self._turn = None


def _texts(texts: Sequence[ReasoningText] | None) -> str:
    return _PARAGRAPH.join(each.text for each in texts or () if each.text)
