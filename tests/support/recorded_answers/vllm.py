"""vLLM's answers.

Format: `vllm/entrypoints/openai/chat_completion/serving.py` and `protocol.py`, release 0.12 and
later; before that, reasoning was called `reasoning_content`. A failure in mid-stream is an event
with an error object, and `[DONE]` follows it.
"""

from typing import Any

from tests.support.recorded_answers.recorder import CREATED, DONE, compact, event
from tests.support.recorded_answers.turns import Delta, Turn, deltas, rename_reasoning

_ID = "chatcmpl-8e1f3a66b53a4f4b9c2d6f0a7c0d9e11"


class VllmRecorder:
    """See `Recorder`."""

    kind = "vllm"

    def __init__(self, model: str = "tiny-vllm", *, reasoning_field: str = "reasoning") -> None:
        self.model = model
        self._reasoning_field = reasoning_field

    def stream(
        self, turn: Turn, *, usage: bool = True, whole_calls: bool = False, mixes: bool = False
    ) -> list[bytes]:
        said = list(deltas(turn, whole_calls=whole_calls, mixes=mixes))
        # The last token comes with the finish reason.
        last = said.pop() if said else {"content": ""}
        events = [self._choice({"role": "assistant", "content": ""}, prompt_token_ids=None)]
        events += [self._choice(rename_reasoning(delta, self._reasoning_field)) for delta in said]
        end = {"finish_reason": turn.finish_reason, "stop_reason": None, "token_ids": None}
        events.append(self._choice(rename_reasoning(last, self._reasoning_field), **end))
        if usage:
            events.append(event({**self._head(), "choices": [], "usage": _usage(turn)}))
        return [*events, DONE]

    def body(self, turn: Turn) -> bytes:
        calls = [
            {
                "id": call.tool_call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in turn.calls
        ]
        message = {
            "role": "assistant",
            "content": turn.text or (None if calls or turn.reasoning else ""),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": calls,
            self._reasoning_field: turn.reasoning or None,
        }
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": turn.finish_reason,
            "stop_reason": None,
            "token_ids": None,
        }
        return compact(
            {
                "id": _ID,
                "object": "chat.completion",
                "created": CREATED,
                "model": self.model,
                "choices": [choice],
                "service_tier": None,
                "system_fingerprint": None,
                "usage": {**_usage(turn), "prompt_tokens_details": None},
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "kv_transfer_params": None,
            }
        )

    def error_events(self, message: str) -> list[bytes]:
        error = {"message": message, "type": "InternalServerError", "param": None, "code": 500}
        return [event({"error": error}), DONE]

    def refusal(self, message: str) -> bytes:
        error = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
        return compact({"error": error})

    def _head(self) -> dict[str, Any]:
        return {
            "id": _ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": self.model,
        }

    def _choice(self, delta: Delta, **more: Any) -> bytes:
        of_chunk = {name: more.pop(name) for name in ("prompt_token_ids",) if name in more}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        return event({**self._head(), "choices": [choice], **of_chunk})


def _usage(turn: Turn) -> dict[str, Any]:
    return {
        "prompt_tokens": turn.prompt_tokens,
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
        "completion_tokens": turn.completion_tokens,
    }
