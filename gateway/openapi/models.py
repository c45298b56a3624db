"""`GET /v1/models` and `GET /v1/models/{model}`.

https://platform.openai.com/docs/api-reference/models
"""

from typing import Any

from msgspec import Struct

from gateway.access.errors import LimitReached
from gateway.errors import ModelNotFound
from gateway.openapi.errors import EVERYWHERE
from gateway.openapi.headers import CORRELATION_ID, OF_EVERY_ANSWER
from gateway.openapi.operations import JSON, Answer, Operation, Parameter, reference

STRUCTS: tuple[type[Struct], ...] = ()

SCHEMAS: dict[str, Any] = {
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
}

OPERATIONS = (
    Operation(
        method="get",
        path="/v1/models",
        name="listModels",
        group="Models",
        summary="List the models that the caller may use.",
        parameters=(CORRELATION_ID,),
        answers={200: Answer("The models.", {JSON: reference("ModelList")}, OF_EVERY_ANSWER)},
        errors=(*EVERYWHERE, LimitReached),
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
        ),
        answers={200: Answer("The model.", {JSON: reference("Model")}, OF_EVERY_ANSWER)},
        errors=(*EVERYWHERE, ModelNotFound, LimitReached),
    ),
)
