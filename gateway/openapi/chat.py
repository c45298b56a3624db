"""`POST /v1/chat/completions`.

https://platform.openai.com/docs/api-reference/chat
"""

from typing import Any

from msgspec import Struct

from gateway.errors import SearchFailed
from gateway.openai.requests import RetrievalControls
from gateway.openapi.errors import OF_A_MODEL
from gateway.openapi.headers import CORRELATION_ID, OF_A_CHAT, RETRIEVAL_CONTROLS
from gateway.openapi.operations import EVENT_STREAM, JSON, Answer, Operation, reference
from gateway.openapi.schemas import nullable

STRUCTS: tuple[type[Struct], ...] = (RetrievalControls,)
"""Our own types that are referred to by their names."""

_MESSAGE: dict[str, Any] = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"type": "string", "examples": ["system", "user", "assistant", "tool"]},
        "content": {
            "description": "Text, or parts: text, images and what else the backend takes.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "object"}},
                {"type": "null"},
            ],
        },
    },
}

SCHEMAS: dict[str, Any] = {
    "ChatCompletionRequest": {
        "description": (
            "OpenAI's request. The fields here are those that the gateway reads itself; every"
            " other one (temperature, seed, n, logprobs, response_format, …) reaches the backend"
            " as it is, and is recorded."
        ),
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "model": {"type": "string", "minLength": 1},
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
            "tools": nullable({"type": "array", "items": {"type": "object"}}),
            "stream": nullable({"type": "boolean"}),
            "stream_options": nullable(
                {"type": "object", "properties": {"include_usage": nullable({"type": "boolean"})}}
            ),
            "retrieval": nullable(reference("RetrievalControls")),
        },
    },
    "ChatCompletion": {
        "description": "The backend's answer, with `sources` where passages went into the prompt.",
        "type": "object",
        "required": ["choices"],
        "properties": {
            "choices": {"type": "array", "items": {"type": "object"}},
            "usage": nullable({"type": "object"}),
            "sources": {"type": "array", "items": {"type": "object"}},
        },
    },
}

OPERATIONS = (
    Operation(
        method="post",
        path="/v1/chat/completions",
        name="createChatCompletion",
        group="Chat",
        summary="Answer a conversation, whole or streamed.",
        description=(
            "With `stream: true` the answer is a stream of events, each a chunk of OpenAI's, and"
            " `[DONE]` at the end. A failure after the first byte is told by an event with the"
            " error envelope, and no `[DONE]` follows."
        ),
        parameters=(CORRELATION_ID, *RETRIEVAL_CONTROLS),
        body=reference("ChatCompletionRequest"),
        answers={
            200: Answer(
                "The answer.",
                {JSON: reference("ChatCompletion"), EVENT_STREAM: {"type": "string"}},
                OF_A_CHAT,
            )
        },
        errors=(*OF_A_MODEL, SearchFailed),
        passes_on_errors=True,
    ),
)
