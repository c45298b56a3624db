"""What the user asked, taken from a conversation."""

from collections.abc import Mapping, Sequence
from typing import Any

_TEXT_PART_TYPES = frozenset({"text", "input_text"})


def find_last_user_message(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the index of the last message whose role is `user`, or None."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].get("role") == "user":
            return index
    return None


def extract_user_query(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message; an empty string where there is none.

    The content may be a string or a list of content parts, of which the text parts are joined
    by line breaks. Images, audio and files are passed over.
    """
    index = find_last_user_message(messages)
    if index is None:
        return ""
    content = messages[index].get("content")
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list | tuple):
        return ""
    return "\n".join(text for part in content if (text := _part_text(part))).strip()


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") in _TEXT_PART_TYPES:
        text = part.get("text")
        return text if isinstance(text, str) else ""
    return ""
