"""llama.cpp's answers.

Format: `tools/server` of llama.cpp, and what its server answers to the tests that run it. The
usage comes with timings; a failure in mid-stream is an event with an error object, and nothing
follows it.
"""

from typing import Any

from tests.support.recorded_answers.recorder import CREATED, DONE, compact, event
from tests.support.recorded_answers.turns import Delta, Turn, deltas, rename_reasoning

_ID = "chatcmpl-n86dlSKue3jrTNPX0ueuMOSlHZ668ZA5"


class LlamaCppRecorder:
    """See `Recorder`."""

    kind = "llamacpp"

    def __init__(self, model: str = "tiny-llamacpp") -> None:
        self.model = model

    def stream(
        self, turn: Turn, *, usage: bool = True, whole_calls: bool = False, mixes: bool = False
    ) -> list[bytes]:
        events = [self._choice({"role": "assistant", "content": None})]
        said = deltas(turn, whole_calls=whole_calls, mixes=mixes)
        events += [self._choice(rename_reasoning(delta, "reasoning_content")) for delta in said]
        timings = {"timings": _timings(turn)}
        if usage:
            events.append(self._choice({}, turn.finish_reason))
            chunk = {"choices": [], **self._tail(), "usage": _usage(turn), **timings}
            events.append(event(chunk))
        else:
            events.append(self._choice({}, turn.finish_reason, **timings))
        return [*events, DONE]

    def body(self, turn: Turn) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": turn.text}
        if turn.reasoning:
            message["reasoning_content"] = turn.reasoning
        if turn.calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                    "id": call.tool_call_id,
                }
                for call in turn.calls
            ]
        return compact(
            {
                "choices": [{"finish_reason": turn.finish_reason, "index": 0, "message": message}],
                "created": CREATED,
                "model": self.model,
                "system_fingerprint": "b6000-0a1b2c3d",
                "object": "chat.completion",
                "usage": _usage(turn),
                "id": _ID,
                "timings": _timings(turn),
            }
        )

    def error_events(self, message: str) -> list[bytes]:
        return [event({"error": {"code": 500, "message": message, "type": "server_error"}})]

    def refusal(self, message: str) -> bytes:
        error = {"code": 400, "message": message, "type": "invalid_request_error"}
        return compact({"error": error})

    def _tail(self) -> dict[str, Any]:
        return {
            "created": CREATED,
            "id": _ID,
            "model": self.model,
            "system_fingerprint": "b6000-0a1b2c3d",
            "object": "chat.completion.chunk",
        }

    def _choice(self, delta: Delta, finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"finish_reason": finish_reason, "index": 0, "delta": delta}
        return event({"choices": [choice], **self._tail(), **more})


def _usage(turn: Turn) -> dict[str, Any]:
    return {
        "completion_tokens": turn.completion_tokens,
        "prompt_tokens": turn.prompt_tokens,
        "total_tokens": turn.prompt_tokens + turn.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _timings(turn: Turn) -> dict[str, Any]:
    return {
        "cache_n": 0,
        "prompt_n": turn.prompt_tokens,
        "prompt_ms": 47.291,
        "prompt_per_token_ms": 1.576,
        "prompt_per_second": 634.37,
        "predicted_n": turn.completion_tokens,
        "predicted_ms": 1.179,
        "predicted_per_token_ms": 0.168,
        "predicted_per_second": 5937.23,
    }
