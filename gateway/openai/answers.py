"""What a backend answered, in the form that events need."""

from dataclasses import dataclass, field
from typing import Any

from contracts.payloads import TokenUsage


class NoAnswer(ValueError):
    """A body is no answer of the API that the backend was asked in; the message says why."""


@dataclass(slots=True)
class FunctionCall:
    """One tool call of an answer."""

    position: int
    tool_call_id: str
    name: str
    arguments: str

    @property
    def in_chat(self) -> dict[str, Any]:
        """The call as a chat completion's message has it."""
        return {
            "id": self.tool_call_id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(slots=True)
class Answer:
    """Choice 0 of an answer, whole or as far as it came."""

    message: dict[str, Any] | None = None
    """The assistant message; None where nothing of it came."""
    finish_reason: str | None = None
    tool_calls: list[FunctionCall] = field(default_factory=list)
    usage: TokenUsage = field(default_factory=TokenUsage)
