"""The built-in model `extractive`: verbatim passages as chat completions, whole or streamed."""

import asyncio
import re
from collections.abc import Iterator
from time import time
from typing import Any

import msgspec

from contracts.event_ids import new_event_id
from contracts.payloads import TokenUsage
from gateway.backends.requests import API_PATHS
from gateway.errors import Header
from knowledge.tokens import estimate_tokens

MODEL = "extractive"
BACKEND = "extractive"

_WORD = re.compile(r"\s*\S+\s*$|\s*\S+")


class ExtractiveAnswer:
    """A text in the shape of a backend's answer; see `BackendAnswer`."""

    backend = BACKEND
    path = API_PATHS["chat"]
    status = 200

    def __init__(self, text: str, *, prompt: str, is_streaming: bool) -> None:
        self.headers: list[Header] = []
        self.is_event_stream = is_streaming
        self.content_type = (
            "text/event-stream; charset=utf-8" if is_streaming else "application/json"
        )
        self._text = text
        self._completion_id = f"chatcmpl-{new_event_id()[0]}"
        self._created = int(time())
        prompt_tokens, completion_tokens = estimate_tokens(prompt), estimate_tokens(text)
        self._usage = TokenUsage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
            is_estimate=True,
        )
        self._pieces = self._events() if is_streaming else iter((self._completion(),))

    async def read_all(self) -> bytes:
        return b"".join(self._pieces)

    async def read_some(self) -> bytes:
        # Many words are written without a pause: let other requests in between.
        await asyncio.sleep(0)
        return next(self._pieces, b"")

    async def drain(self) -> None:
        """Nothing follows: there is no connection."""

    def close(self) -> None:
        """Nothing to cut: there is no connection."""

    def _completion(self) -> bytes:
        return msgspec.json.encode(
            {
                "id": self._completion_id,
                "object": "chat.completion",
                "created": self._created,
                "model": MODEL,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": self._text},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": self._usage,
            }
        )

    def _events(self) -> Iterator[bytes]:
        yield self._chunk({"role": "assistant", "content": ""})
        for word in split_words(self._text):
            yield self._chunk({"content": word})
        yield self._chunk({}, finish_reason="stop")
        yield self._event({"choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, str], *, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._event({"choices": [choice]})

    def _event(self, fields: dict[str, Any]) -> bytes:
        chunk = {
            "id": self._completion_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": MODEL,
            **fields,
        }
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def split_words(text: str) -> Iterator[str]:
    """Cut `text` into words with the white space before them; joined, they are `text` again."""
    end = 0
    for word in _WORD.finditer(text):
        end = word.end()
        yield word.group()
    if end < len(text):
        yield text[end:]
