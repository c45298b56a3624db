"""A chat completion as a Messages answer."""

from typing import Any

import msgspec
from msgspec import Raw

from contracts.event_ids import new_event_id
from gateway.openai.chunks import ChatChunk, Choice, ToolCallDelta, Usage
from gateway.openai.completions import arguments_text

SIGNATURE = "unsigned"
"""Of every thinking block. Clients want one and send it back; nobody here verifies it."""

_STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
_NO_INPUT = Raw(b"{}")

_encoder = msgspec.json.Encoder()
_object_decoder = msgspec.json.Decoder(dict[str, Raw])


def new_message_id() -> str:
    """Return an ID for an answer, in the form that Anthropic's have."""
    return f"msg_{new_event_id()[0].replace('-', '')}"


def new_tool_use_id() -> str:
    """Return an ID for a call to which the backend gave none."""
    return f"toolu_{new_event_id()[0].replace('-', '')}"


def message_of(completion: ChatChunk, *, model: str, stop_sequences: list[str]) -> dict[str, Any]:
    """Return a complete answer as a message; `model` is the name that the client used."""
    choice = completion.first_choice
    content: list[dict[str, Any]] = []
    if choice is not None and (said := choice.addition) is not None:
        if thinking := said.reasoning_text:
            content.append({"type": "thinking", "thinking": thinking, "signature": SIGNATURE})
        content.extend(
            {"type": "text", "text": text}
            for text in (said.content, said.refusal)
            if text and not text.isspace()
        )
        content.extend(_tool_use_of(call) for call in said.tool_calls or ())
    has_tool_use = bool(content) and content[-1]["type"] == "tool_use"
    stop_reason, stop_sequence = stop_of(choice, has_tool_use=has_tool_use, known=stop_sequences)
    return {
        "id": new_message_id(),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": usage_of(completion.usage),
    }


def stop_of(
    choice: Choice | None, *, has_tool_use: bool, known: list[str]
) -> tuple[str, str | None]:
    """Return why the answer ended, and the stop sequence that ended it, one of `known`.

    A call of a tool that was cut off by the token limit is no call: that is `max_tokens`.
    """
    finish_reason = None if choice is None else choice.finish_reason
    if finish_reason in _STOP_REASONS:
        return _STOP_REASONS[finish_reason], None
    if has_tool_use:
        return "tool_use", None
    if choice is not None and isinstance(choice.stop_reason, str) and choice.stop_reason in known:
        return "stop_sequence", choice.stop_reason
    return "end_turn", None


def usage_of(usage: Usage | None) -> dict[str, int]:
    """Return token counts: `input_tokens` are those of the prompt that no cache had."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    counts = {"input_tokens": usage.prompt_tokens or 0}
    if usage.cached_tokens is not None:
        counts["input_tokens"] = max(0, counts["input_tokens"] - usage.cached_tokens)
        counts["cache_read_input_tokens"] = usage.cached_tokens
    counts["output_tokens"] = usage.completion_tokens or 0
    return counts


def input_of(arguments: str) -> Raw:
    """Return a call's arguments as the JSON object that `input` must be.

    Models write arguments that are none; the client then finds their text in
    `unparsed_arguments`.
    """
    stripped = arguments.strip()
    if stripped in ("", "null"):
        return _NO_INPUT
    try:
        _object_decoder.decode(stripped)
    except (msgspec.DecodeError, RecursionError):
        return Raw(_encoder.encode({"unparsed_arguments": arguments}))
    return Raw(stripped.encode())


def _tool_use_of(call: ToolCallDelta) -> dict[str, Any]:
    name, arguments = "", ""
    if call.function is not None:
        name = call.function.name or ""
        arguments = arguments_text(call.function.arguments)
    tool_use_id = call.id or new_tool_use_id()
    return {"type": "tool_use", "id": tool_use_id, "name": name, "input": input_of(arguments)}
