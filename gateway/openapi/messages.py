"""`POST /v1/messages` and `POST /v1/messages/count_tokens`.

https://platform.claude.com/docs/en/api/messages
"""

from typing import Any

from msgspec import Struct

from gateway.errors import SearchFailed
from gateway.openapi.errors import OF_A_MODEL
from gateway.openapi.headers import CORRELATION_ID, OF_A_CHAT, OF_EVERY_ANSWER, RETRIEVAL_CONTROLS
from gateway.openapi.operations import EVENT_STREAM, JSON, Answer, Operation, reference
from gateway.openapi.schemas import nullable

STRUCTS: tuple[type[Struct], ...] = ()

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def _block(kind: str, **fields: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose fields, `type` among them, must all be there."""
    return {
        "type": "object",
        "required": ["type", *fields],
        "properties": {"type": {"const": kind}, **fields},
    }


def _content(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_TEXT, {"type": "array", "items": {"anyOf": list(blocks)}}]}


def _turn(role: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"const": role}, "content": _content(*blocks)},
    }


_TEXT_BLOCK = _block("text", text=_TEXT)
_IMAGE_SOURCES = [_block("base64", media_type=_TEXT, data=_TEXT), _block("url", url=_TEXT)]
_IMAGE = _block("image", source={"anyOf": _IMAGE_SOURCES})
_DOCUMENT_SOURCES = [
    _block("text", data=_TEXT),
    _block("content", content=_content(_TEXT_BLOCK, _IMAGE)),
]
_DOCUMENT = _block("document", source={"anyOf": _DOCUMENT_SOURCES})
_DOCUMENT["properties"].update(title=nullable(_TEXT), context=nullable(_TEXT))
_FOUND = {"type": "array", "items": _TEXT_BLOCK}
_SEARCH_RESULT = _block("search_result", source=_TEXT, title=_TEXT, content=_FOUND)
_TOOL_RESULT = _block("tool_result", tool_use_id=_TEXT)
_TOOL_RESULT["properties"].update(
    content=nullable(_content(_TEXT_BLOCK, _IMAGE, _DOCUMENT, _SEARCH_RESULT)),
    is_error=nullable({"type": "boolean"}),
)
_TOOL_USE = _block("tool_use", id=_TEXT, name=_TEXT, input={"type": "object"})
_THINKING = _block("thinking", thinking=_TEXT)
_TOOL_CHOICE: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"enum": ["auto", "any", "none"]},
                "name": nullable(_TEXT),
                "disable_parallel_tool_use": nullable({"type": "boolean"}),
            },
        },
        {
            "type": "object",
            "required": ["type", "name"],
            "properties": {
                "type": {"const": "tool"},
                "name": {"type": "string", "minLength": 1},
                "disable_parallel_tool_use": nullable({"type": "boolean"}),
            },
        },
    ]
}
_NOTHING: dict[str, Any] = {
    "anyOf": [{"type": "null"}, {"type": "array", "maxItems": 0}],
    "description": "Not supported.",
}
_PROMPT: dict[str, Any] = {
    "model": {"type": "string", "minLength": 1},
    "messages": {
        "type": "array",
        "minItems": 1,
        "items": {
            "anyOf": [
                _turn("user", _TEXT_BLOCK, _IMAGE, _DOCUMENT, _SEARCH_RESULT, _TOOL_RESULT),
                _turn("assistant", _TEXT_BLOCK, _THINKING, _TOOL_USE),
                _turn("system", _TEXT_BLOCK),
            ]
        },
    },
    "system": nullable(_content(_TEXT_BLOCK)),
    "tools": nullable(
        {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "input_schema"],
                "properties": {
                    "type": {"enum": ["custom", None]},
                    "name": _TEXT,
                    "description": nullable(_TEXT),
                    "input_schema": {"type": "object"},
                    "strict": nullable({"type": "boolean"}),
                },
            },
        }
    ),
    "tool_choice": nullable(_TOOL_CHOICE),
    "thinking": nullable(
        {
            "type": "object",
            "required": ["type"],
            "properties": {"type": _TEXT, "budget_tokens": nullable(_COUNT)},
        }
    ),
    "output_config": nullable(
        {
            "type": "object",
            "properties": {
                "effort": {"enum": ["low", "medium", "high", "xhigh", "max", None]},
                "format": nullable(_block("json_schema", schema={"type": "object"})),
            },
        }
    ),
    "retrieval": nullable(reference("RetrievalControls")),
    "container": _NOTHING,
    "mcp_servers": _NOTHING,
}

SCHEMAS: dict[str, Any] = {
    "MessagesRequest": {
        "description": (
            "Anthropic's request. Fields that are not named here reach the backend as they are."
        ),
        "type": "object",
        "required": ["model", "messages", "max_tokens"],
        "properties": {
            **_PROMPT,
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            "stream": nullable({"type": "boolean"}),
            "stop_sequences": nullable({"type": "array", "items": {"type": "string"}}),
            "metadata": nullable({"type": "object", "properties": {"user_id": nullable(_TEXT)}}),
        },
    },
    "CountTokensRequest": {
        "type": "object",
        "required": ["model", "messages"],
        "properties": _PROMPT,
    },
    "Message": {
        "description": "The answer, with `sources` where passages went into the prompt.",
        "type": "object",
        "required": ["content", "usage"],
        "properties": {
            "content": {"type": "array", "items": {"type": "object"}},
            "stop_reason": {"type": ["string", "null"]},
            "usage": {"type": "object"},
            "sources": {"type": "array", "items": {"type": "object"}},
        },
    },
    "TokenCount": {
        "type": "object",
        "required": ["input_tokens", "is_estimate", "retrieved_tokens"],
        "properties": {
            "input_tokens": {"type": "integer", "description": "Of the whole prompt."},
            "retrieved_tokens": {
                "type": "integer",
                "description": "Those of them that retrieval adds.",
            },
            "is_estimate": {
                "type": "boolean",
                "description": "The backend's tokenizer could not be asked.",
            },
            "sources": {"type": "array", "items": {"type": "object"}},
        },
    },
    "AnthropicError": {
        "description": "Anthropic's error envelope.",
        "type": "object",
        "required": ["type", "error", "request_id"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
            "request_id": {"type": "string", "description": "The correlation ID."},
        },
    },
}

_REQUEST_ID = {"request-id": "The correlation ID, where Anthropic's clients look for it."}

OPERATIONS = (
    Operation(
        method="post",
        path="/v1/messages",
        name="createMessage",
        group="Messages",
        summary="Answer a conversation in Anthropic's protocol, whole or streamed.",
        description=(
            "With `stream: true` the answer is a stream of named events from `message_start` to"
            " `message_stop`. A failure after the first byte is told by an event `error`."
        ),
        parameters=(CORRELATION_ID, *RETRIEVAL_CONTROLS),
        body=reference("MessagesRequest"),
        answers={
            200: Answer(
                "The answer.",
                {JSON: reference("Message"), EVENT_STREAM: {"type": "string"}},
                {**OF_A_CHAT, **_REQUEST_ID},
            )
        },
        errors=(*OF_A_MODEL, SearchFailed),
        error_envelope="AnthropicError",
        passes_on_errors=True,
    ),
    Operation(
        method="post",
        path="/v1/messages/count_tokens",
        name="countTokens",
        group="Messages",
        summary="Count the tokens of a prompt, with what retrieval would add to it.",
        parameters=(CORRELATION_ID, *RETRIEVAL_CONTROLS),
        body=reference("CountTokensRequest"),
        answers={
            200: Answer(
                "The count.",
                {JSON: reference("TokenCount")},
                {
                    **OF_EVERY_ANSWER,
                    **_REQUEST_ID,
                    "X-Sluice-Token-Count": "Whether the count is exact or an estimate.",
                },
            )
        },
        errors=OF_A_MODEL,
        error_envelope="AnthropicError",
    ),
)
