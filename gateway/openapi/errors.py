"""The errors that routes answer with, as the classes in `gateway.errors` say themselves."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.access.errors import (
    CollectionNotAllowed,
    HeadersTooLarge,
    KeyRefused,
    LimitReached,
    ModelNotAllowed,
)
from gateway.errors import (
    BackendError,
    BodyTooLarge,
    GatewayError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    ShuttingDown,
)

_SUMMARY = re.compile(r"(?P<status>\d{3}): (?P<text>.+?)(?:\n\n|$)", re.DOTALL)
_BACKEND_STATUSES = {
    "502": "a backend cannot be reached, refuses the gateway, or breaks off its answer",
    "503": "a backend that might serve the model cannot be asked, or all are busy",
    "504": "a backend did not answer in time",
}

EVERYWHERE: tuple[type[GatewayError], ...] = (KeyRefused, HeadersTooLarge, InternalError)
"""Any route with a key's access answers with these."""

WITH_BODY: tuple[type[GatewayError], ...] = (InvalidRequest, BodyTooLarge, *EVERYWHERE)

OF_A_MODEL: tuple[type[GatewayError], ...] = (
    *WITH_BODY,
    ModelNotFound,
    ModelNotAllowed,
    CollectionNotAllowed,
    LimitReached,
    BackendError,
    ShuttingDown,
)
"""A route that asks a model answers with these."""

OPENAI_ERROR: dict[str, Any] = {
    "description": "OpenAI's error envelope; of the gateway's own errors all four keys are there.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"], "description": "The field that is wrong."},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}


def describe_errors(kinds: Sequence[type[GatewayError]]) -> Iterable[tuple[str, str]]:
    """Return each status that the errors have, and what it means."""
    meanings: dict[str, list[str]] = {}
    for kind in kinds:
        for status, meaning in _meanings_of(kind):
            meanings.setdefault(status, []).append(meaning)
    return [
        (status, "; ".join(texts)[0].upper() + "; ".join(texts)[1:] + ".")
        for status, texts in sorted(meanings.items())
    ]


def _meanings_of(kind: type[GatewayError]) -> Iterable[tuple[str, str]]:
    if kind is BackendError:
        return _BACKEND_STATUSES.items()
    summary = _SUMMARY.match(kind.__doc__ or "")
    if summary is None:
        raise TypeError(f"the docstring of {kind.__name__} does not begin with its status")
    return [(summary["status"], " ".join(summary["text"].split()).rstrip("."))]
