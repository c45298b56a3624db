"""LM Studio's answers.

Format: https://lmstudio.ai/docs/developer/openai-compat/tools and the chat completions that its
users show. `role` comes with the first delta, call IDs are digits, and an answer that is not
streamed has `reasoning_content` and `tool_calls` even where they are empty. A failure in
mid-stream is an event named `error`, and nothing follows it.
"""

from typing import Any

from tests.support.recorded_answers.recorder import CREATED, DONE, compact, event
from tests.support.recorded_answers.turns import Delta, Turn, deltas, rename_reasoning

_ID = "chatcmpl-gb1t1uqzefudice8ntxd9i"


class LmStudioRecorder:
    """See `Recorder`."""

    kind = "lmstudio"

    def __init__(self, model: str = "tiny-lmstudio") -> None:
        self.model = model

    def stream(
        self, turn: Turn, *, usage: bool = True, whole_calls: bool = False, mixes: bool = False
    ) -> list[bytes]:
        events = []
        role = {"role": "assistant"}
        for delta in deltas(turn, whole_calls=whole_calls, mixes=mixes):
            events.append(self._choice({**role, **rename_reasoning(delta, "reasoning_content")}))
            role = {}
        events.append(self._choice({}, turn.finish_reason))
        if usage:
            events.append(event({**self._head(), "choices": [], "usage": _usage(turn)}))
        return [*events, DONE]

    def body(self, turn: Turn) -> bytes:
        message = {
            "role": "assistant",
            "content": turn.text,
            "reasoning_content": turn.reasoning,
            "tool_calls": [
                {
                    "type": "function",
                    "id": call.tool_call_id,
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for call in turn.calls
            ],
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": turn.finish_reason,
        }
        return compact(
            {
                "id": _ID,
                "object": "chat.completion",
                "created": CREATED,
                "model": self.model,
                "choices": [choice],
                "usage": _usage(turn),
                "stats": {},
                "system_fingerprint": self.model,
            }
        )

    def error_events(self, message: str) -> list[bytes]:
        return [b"event: error\n" + event({"error": {"message": message}})]

    def refusal(self, message: str) -> bytes:
        return compact({"error": {"message": message}})

    def _head(self) -> dict[str, Any]:
        return {
            "id": _ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": self.model,
        }

    def _choice(self, delta: Delta, finish_reason: str | None = None) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return event({**self._head(), "choices": [choice]})


def _usage(turn: Turn) -> dict[str, Any]:
    return {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
