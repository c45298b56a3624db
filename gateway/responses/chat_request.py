"""Makes a chat completion request of a Responses request."""

from collections.abc import Sequence
from typing import Any

from gateway.openai.requests import ChatRequest, RetrievalControls
from gateway.responses.conversation import ChatMessage
from gateway.responses.requests import LOGPROBS, ResponsesRequest, TextFormat

_SAME_NAMED = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "user",
)
_ASK_USAGE = {"include_usage": True}


def make_chat_request(request: ResponsesRequest, messages: Sequence[ChatMessage]) -> ChatRequest:
    """Return the chat completion request that asks for the same.

    Fields that are none of the protocol's go through as they are, since a local server may know
    them. Of a stream the usage is asked for, which the terminal event carries.
    """
    values: dict[str, Any] = {
        **request.other_fields,
        "model": request.model,
        "messages": messages,
        **_options(request),
    }
    if request.is_streaming:
        values["stream"] = True
        values["stream_options"] = _ASK_USAGE
    return ChatRequest.translated(
        values,
        model=request.model,
        is_streaming=request.is_streaming,
        retrieval=retrieval_controls(request),
    )


def _options(request: ResponsesRequest) -> dict[str, Any]:
    body, tools = request.body, request.tools
    options: dict[str, Any] = {
        name: request.fields[name] for name in _SAME_NAMED if getattr(body, name) is not None
    }
    if body.max_output_tokens is not None:
        options["max_tokens"] = body.max_output_tokens
    if tools.functions:
        options["tools"] = tools.functions
        if tools.tool_choice is not None:
            options["tool_choice"] = tools.tool_choice
        if body.parallel_tool_calls is not None:
            options["parallel_tool_calls"] = body.parallel_tool_calls
    if body.text is not None:
        if body.text.format is not None and body.text.format.type != "text":
            options["response_format"] = _response_format(body.text.format)
        if body.text.verbosity is not None:
            options["verbosity"] = body.text.verbosity
    if body.reasoning is not None and body.reasoning.effort is not None:
        options["reasoning_effort"] = body.reasoning.effort
    if LOGPROBS in request.include or body.top_logprobs:
        options["logprobs"] = True
        options["top_logprobs"] = body.top_logprobs or 0
    return options


def _response_format(text_format: TextFormat) -> dict[str, Any]:
    if text_format.type == "json_object":
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": text_format.name, "schema": text_format.schema}
    if text_format.description is not None:
        schema["description"] = text_format.description
    if text_format.strict is not None:
        schema["strict"] = text_format.strict
    return {"type": "json_schema", "json_schema": schema}


def retrieval_controls(request: ResponsesRequest) -> RetrievalControls:
    """Return the tool's controls, and those of the extension field where it leaves them open."""
    given = request.body.retrieval
    if request.tools.file_search is None:
        return given or RetrievalControls()
    controls = request.tools.file_search.controls()
    if given is None:
        return controls
    return RetrievalControls(
        enabled=True,
        top_k=given.top_k if controls.top_k is None else controls.top_k,
        collections=controls.collections,
        min_score=given.min_score if controls.min_score is None else controls.min_score,
        sources=given.sources,
        attributes=given.attributes if controls.attributes is None else controls.attributes,
    )
