"""The dialects that the gateway answers chat requests in, as bare HTTP requests."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dialect:
    """A path, and the body that asks one question there."""

    name: str
    path: str
    body: dict[str, Any]

    def ask(self, *, model: str, stream: bool) -> dict[str, Any]:
        return {**self.body, "model": model, "stream": stream}


_MESSAGES = [{"role": "user", "content": "Which gate is open?"}]

DIALECTS = (
    Dialect("chat", "/v1/chat/completions", {"messages": _MESSAGES}),
    Dialect("messages", "/v1/messages", {"messages": _MESSAGES, "max_tokens": 64}),
    Dialect("responses", "/v1/responses", {"input": "Which gate is open?", "store": False}),
)
