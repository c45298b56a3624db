"""`/v1/responses` and what lies below it.

https://platform.openai.com/docs/api-reference/responses
"""

from typing import Any

from gateway.access.errors import LimitReached
from gateway.errors import InvalidRequest, SearchFailed
from gateway.openapi.errors import EVERYWHERE, OF_A_MODEL
from gateway.openapi.headers import (
    CORRELATION_ID,
    OF_A_CHAT,
    OF_EVERY_ANSWER,
    RETRIEVAL_CONTROLS,
)
from gateway.openapi.operations import EVENT_STREAM, JSON, Answer, Operation, Parameter, reference
from gateway.openapi.schemas import nullable
from gateway.responses.errors import ItemNotFound, ResponseNotFound, StoreUnavailable
from gateway.responses.requests import INCLUDABLE, UNAVAILABLE, ResponsesBody

_TEXT: dict[str, Any] = {"type": "string"}
_MESSAGE: dict[str, Any] = {
    "description": (
        "A turn. Besides messages, `input` takes the items that a response's `output` holds,"
        " outputs of tools, and references to stored items."
    ),
    "type": "object",
    "required": ["role", "content"],
    "properties": {
        "type": {"const": "message"},
        "role": {"enum": ["user", "assistant", "system", "developer"]},
        "content": {
            "anyOf": [
                _TEXT,
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "text"],
                        "properties": {"type": {"const": "input_text"}, "text": _TEXT},
                    },
                },
            ]
        },
    },
}
_FUNCTION: dict[str, Any] = {
    "type": "object",
    "required": ["type", "name"],
    "properties": {
        "type": {"const": "function"},
        "name": {"type": "string", "minLength": 1, "maxLength": 128},
        "description": nullable(_TEXT),
        "parameters": nullable({"type": "object"}),
        "strict": nullable({"type": "boolean"}),
    },
}
_FILE_SEARCH: dict[str, Any] = {
    "type": "object",
    "required": ["type", "vector_store_ids"],
    "properties": {
        "type": {"const": "file_search"},
        "vector_store_ids": {
            "description": "Collections of documents.",
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {"type": "string", "pattern": "^[a-z]{1,20}$"},
        },
    },
    "additionalProperties": False,
}

STRUCTS = (ResponsesBody,)

SCHEMAS: dict[str, Any] = {
    "CreateResponse": {
        "description": (
            "OpenAI's request. Fields that are none of the protocol's (seed, stop, …) reach the"
            " backend as they are."
        ),
        "allOf": [reference("ResponsesBody")],
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "input": {"anyOf": [_TEXT, {"type": "array", "minItems": 1, "items": _MESSAGE}]},
            "background": {"enum": [False, None]},
            "include": nullable({"type": "array", "items": {"enum": list(INCLUDABLE)}}),
            "tools": nullable(
                {"type": "array", "maxItems": 1, "items": {"anyOf": [_FUNCTION, _FILE_SEARCH]}}
            ),
            "tool_choice": {"enum": ["none", "auto", "required", None]},
            "text": {"type": ["object", "null"], "properties": {"format": {"type": "null"}}},
            **{name: {"type": "null"} for name in UNAVAILABLE},
        },
    },
    "Response": {
        "description": "OpenAI's response, with `sources` where passages went into the prompt.",
        "type": "object",
        "required": ["id", "object", "created_at", "status", "model", "output"],
        "properties": {
            "id": _TEXT,
            "object": {"const": "response"},
            "created_at": {"type": "integer", "description": "Unix seconds."},
            "status": {"enum": ["completed", "incomplete", "failed"]},
            "model": _TEXT,
            "output": {"type": "array", "items": {"type": "object"}},
            "sources": {"type": "array", "items": {"type": "object"}},
        },
    },
    "DeletedResponse": {
        "type": "object",
        "required": ["id", "object", "deleted"],
        "properties": {
            "id": _TEXT,
            "object": {"const": "response"},
            "deleted": {"const": True},
        },
    },
    "ResponseItemList": {
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"type": "object"}},
            "first_id": nullable(_TEXT),
            "last_id": nullable(_TEXT),
            "has_more": {"type": "boolean"},
        },
    },
}

_RESPONSE_ID = Parameter(
    "response_id",
    "path",
    "ID of a response that was stored for the caller's key.",
    {"type": "string", "minLength": 1},
    is_required=True,
)
_OF_STORED = (*EVERYWHERE, ResponseNotFound, StoreUnavailable, LimitReached)

OPERATIONS = (
    Operation(
        method="post",
        path="/v1/responses",
        name="createResponse",
        group="Responses",
        summary="Answer, whole or streamed, with or without state.",
        description=(
            "With `stream: true` the answer is a stream of OpenAI's events, numbered, the last of"
            " which carries the whole response: `response.completed`, `response.incomplete` or"
            " `response.failed`. Unless `store` is false, it is stored before that is sent."
        ),
        parameters=(CORRELATION_ID, *RETRIEVAL_CONTROLS),
        body=reference("CreateResponse"),
        answers={
            200: Answer(
                "The response.",
                {JSON: reference("Response"), EVENT_STREAM: {"type": "string"}},
                OF_A_CHAT,
            )
        },
        errors=(*OF_A_MODEL, SearchFailed, ItemNotFound, StoreUnavailable),
        passes_on_errors=True,
    ),
    Operation(
        method="get",
        path="/v1/responses/{response_id}",
        name="showResponse",
        group="Responses",
        summary="Return a stored response.",
        parameters=(_RESPONSE_ID, CORRELATION_ID),
        answers={200: Answer("The response.", {JSON: reference("Response")}, OF_EVERY_ANSWER)},
        errors=(*_OF_STORED, InvalidRequest),
    ),
    Operation(
        method="delete",
        path="/v1/responses/{response_id}",
        name="deleteResponse",
        group="Responses",
        summary="Remove a stored response.",
        parameters=(_RESPONSE_ID, CORRELATION_ID),
        answers={200: Answer("It is gone.", {JSON: reference("DeletedResponse")}, OF_EVERY_ANSWER)},
        errors=_OF_STORED,
    ),
    Operation(
        method="get",
        path="/v1/responses/{response_id}/input_items",
        name="listInputItems",
        group="Responses",
        summary="List the input items of a stored response, a page at a time.",
        parameters=(
            _RESPONSE_ID,
            Parameter(
                "limit",
                "query",
                "Items of a page.",
                {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            ),
            Parameter(
                "order",
                "query",
                "Whether the last item comes first.",
                {"enum": ["asc", "desc"], "default": "desc"},
            ),
            Parameter(
                "after",
                "query",
                "ID of the item before the page.",
                {"type": "string", "maxLength": 512},
            ),
            CORRELATION_ID,
        ),
        answers={200: Answer("A page.", {JSON: reference("ResponseItemList")}, OF_EVERY_ANSWER)},
        errors=(*_OF_STORED, InvalidRequest),
    ),
    Operation(
        method="post",
        path="/v1/responses/{response_id}/cancel",
        name="cancelResponse",
        group="Responses",
        summary="Always refused: only what runs in the background can be cancelled.",
        description="To cancel a response that is being made, close its connection.",
        parameters=(_RESPONSE_ID, CORRELATION_ID),
        answers={},
        errors=(*_OF_STORED, InvalidRequest),
    ),
)
