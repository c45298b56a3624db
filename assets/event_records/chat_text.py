"""The plain text of chat messages, for reading and deduplicating pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


def text_of_prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user turn; empty where there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return _text_of_content(message.get("content"))
    return ""


def text_of_answer(answer: Mapping[str, Any]) -> str:
    """Return an assistant message's text, or its tool calls as JSON where it has only those."""
    text = _text_of_content(answer.get("content"))
    if not text and answer.get("tool_calls"):
        return msgspec.json.encode(answer["tool_calls"]).decode()
    return text


def _text_of_content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (part for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(str(part.get("text", "")) for part in parts)
