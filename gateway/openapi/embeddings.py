"""`POST /v1/embeddings`.

https://platform.openai.com/docs/api-reference/embeddings
"""

from typing import Any

from msgspec import Struct

from gateway.errors import EncoderBusy, EncoderDown
from gateway.openapi.errors import OF_A_MODEL
from gateway.openapi.headers import CORRELATION_ID, OF_A_CALL
from gateway.openapi.operations import JSON, Answer, Operation, reference
from gateway.openapi.schemas import nullable

_TOKENS = {"type": "array", "items": {"type": "integer"}}

STRUCTS: tuple[type[Struct], ...] = ()

SCHEMAS: dict[str, Any] = {
    "EmbeddingsRequest": {
        "description": "OpenAI's request with two extensions: `input_type` and `truncate`.",
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "input": {
                "description": "One text or several; token IDs where a backend takes them.",
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}},
                    _TOKENS,
                    {"type": "array", "items": _TOKENS},
                ],
            },
            "encoding_format": {"enum": ["float", "base64", None]},
            "dimensions": nullable({"type": "integer"}),
            "input_type": nullable({"type": "string", "examples": ["query", "document"]}),
            "truncate": nullable(
                {"type": "boolean", "description": "Cut what is too long instead of refusing it."}
            ),
        },
    },
    "Embeddings": {
        "type": "object",
        "required": ["object", "data", "model"],
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "data": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["object", "index", "embedding"],
                    "properties": {
                        "object": {"const": "embedding"},
                        "index": {"type": "integer"},
                        "embedding": {
                            "description": "Numbers, or float32 in little endian as base64.",
                            "anyOf": [
                                {"type": "array", "items": {"type": "number"}},
                                {"type": "string", "contentEncoding": "base64"},
                            ],
                        },
                    },
                },
            },
            "usage": {"type": "object"},
        },
    },
}

OPERATIONS = (
    Operation(
        method="post",
        path="/v1/embeddings",
        name="createEmbeddings",
        group="Embeddings",
        summary="Turn texts into vectors, by the platform's encoder or by a backend.",
        parameters=(CORRELATION_ID,),
        body=reference("EmbeddingsRequest"),
        answers={200: Answer("The vectors.", {JSON: reference("Embeddings")}, OF_A_CALL)},
        errors=(*OF_A_MODEL, EncoderBusy, EncoderDown),
        passes_on_errors=True,
    ),
)
