"""`GET /v1/models` and `GET /v1/models/{model}`.

https://platform.openai.com/docs/api-reference/models and, for who sends the header
`anthropic-version`, https://platform.claude.com/docs/en/api/models-list.
"""

from typing import Any

from msgspec import Struct

from gateway.access.errors import LimitReached
from gateway.errors import InvalidRequest, ModelNotFound
from gateway.openapi.errors import EVERYWHERE
from gateway.openapi.headers import CORRELATION_ID, OF_EVERY_ANSWER
from gateway.openapi.operations import JSON, Answer, Operation, Parameter, reference

STRUCTS: tuple[type[Struct], ...] = ()

SCHEMAS: dict[str, Any] = {
    "EitherError": {"anyOf": [reference("OpenAIError"), reference("AnthropicError")]},
    "Model": {
        "type": "object",
        "required": ["id", "object", "created", "owned_by"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "model"},
            "created": {
                "type": "integer",
                "description": "Unix seconds; 0 where the server does not say.",
            },
            "owned_by": {"type": "string", "description": "Name of the backend."},
        },
    },
    "ModelList": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": reference("Model")},
        },
    },
    "AnthropicModel": {
        "type": "object",
        "required": ["type", "id", "display_name", "created_at"],
        "properties": {
            "type": {"const": "model"},
            "id": {"type": "string"},
            "display_name": {"type": "string"},
            "created_at": {
                "type": "string",
                "format": "date-time",
                "description": "The epoch where the server does not say.",
            },
        },
    },
    "AnthropicModelList": {
        "type": "object",
        "required": ["data", "has_more", "first_id", "last_id"],
        "properties": {
            "data": {"type": "array", "items": reference("AnthropicModel")},
            "has_more": {"type": "boolean"},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
        },
    },
}

_ANTHROPIC_VERSION = Parameter(
    "anthropic-version",
    "header",
    "Sent by Anthropic's clients, who get their shape of the answer and of errors.",
    {"type": "string"},
)
_PAGE = (
    Parameter(
        "limit",
        "query",
        "How many models a page of Anthropic's shape has.",
        {"type": "integer", "minimum": 1, "maximum": 1000},
    ),
    Parameter("after_id", "query", "The model before the page.", {"type": "string"}),
    Parameter("before_id", "query", "The model after the page.", {"type": "string"}),
)


def _either(openai: str, anthropic: str) -> dict[str, Any]:
    return {"anyOf": [reference(openai), reference(anthropic)]}


OPERATIONS = (
    Operation(
        method="get",
        path="/v1/models",
        name="listModels",
        group="Models",
        summary="List the models that the caller may use.",
        parameters=(CORRELATION_ID, _ANTHROPIC_VERSION, *_PAGE),
        answers={
            200: Answer(
                "The models.", {JSON: _either("ModelList", "AnthropicModelList")}, OF_EVERY_ANSWER
            )
        },
        errors=(*EVERYWHERE, InvalidRequest, ModelNotFound, LimitReached),
        error_envelope="EitherError",
    ),
    Operation(
        method="get",
        path="/v1/models/{model}",
        name="showModel",
        group="Models",
        summary="Describe one model.",
        parameters=(
            Parameter(
                "model",
                "path",
                "The model's ID; slashes may stand in it as they are.",
                {"type": "string", "minLength": 1},
                is_required=True,
            ),
            CORRELATION_ID,
            _ANTHROPIC_VERSION,
        ),
        answers={
            200: Answer("The model.", {JSON: _either("Model", "AnthropicModel")}, OF_EVERY_ANSWER)
        },
        errors=(*EVERYWHERE, ModelNotFound, LimitReached),
        error_envelope="EitherError",
    ),
)
