"""The document at `/openapi.json`, made once."""

from functools import cache
from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.openapi import chat, embeddings, messages, models, platform, responses
from gateway.openapi.errors import OPENAI_ERROR
from gateway.openapi.operations import Operation
from gateway.openapi.schemas import schemas_of

_GROUPS = (chat, messages, responses, embeddings, models, platform)


def operations() -> list[Operation]:
    """Return the description of every route."""
    return [operation for group in _GROUPS for operation in group.OPERATIONS]


@cache
def openapi_document() -> bytes:
    """Return the document as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations():
        paths.setdefault(operation.path, {})[operation.method] = operation.render()
    structs = [struct for group in _GROUPS for struct in group.STRUCTS]
    schemas = {"OpenAIError": OPENAI_ERROR, **schemas_of(structs)}
    for group in _GROUPS:
        schemas.update(group.SCHEMAS)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": version("sluice-platform"),
            "description": "A gateway to local language models, in the dialects of their clients.",
        },
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }
    return msgspec.json.encode(document)


async def show_document(_request: Request) -> Response:
    """Answer `GET /openapi.json`."""
    return Response(openapi_document(), media_type="application/json")
