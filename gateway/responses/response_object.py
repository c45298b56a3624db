"""The Response object: what of it is known before the model has answered, and its usage."""

from collections.abc import Mapping
from time import time
from typing import Any

from msgspec import Raw

from gateway.openai.chunks import Usage
from gateway.responses.requests import ResponsesRequest

_TEXT = {"format": {"type": "text"}}
_DEFAULTS: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "text": _TEXT,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What a response says of parameters that the client left open."""

_NULL = Raw(b"null")


def new_response(request: ResponsesRequest, response_id: str, *, is_stored: bool) -> dict[str, Any]:
    """Return the response as it begins, every field present; parameters as the client sent them."""
    response: dict[str, Any] = {
        "id": response_id,
        "object": "response",
        "created_at": int(time()),
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        "store": is_stored,
        "tools": request.tools.shown,
        "usage": None,
    }
    for name, default in _DEFAULTS.items():
        given = request.fields.get(name, _NULL)
        response[name] = default if given == _NULL else given
    if request.body.service_tier == "auto":
        response["service_tier"] = "default"
    if request.body.text is not None and request.body.text.format is None:
        response["text"] = {**_TEXT, "verbosity": request.body.text.verbosity}
    return response


def describe_usage(usage: Usage | None) -> dict[str, Any] | None:
    """Return a chat completion's usage as a response has it; None where there is none."""
    if usage is None or usage.prompt_tokens is None:
        return None
    output_tokens = usage.completion_tokens or 0
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": (prompt and prompt.cached_tokens) or 0,
            "cache_write_tokens": 0,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {
            "reasoning_tokens": (completion and completion.reasoning_tokens) or 0
        },
        "total_tokens": usage.total_tokens or usage.prompt_tokens + output_tokens,
    }
