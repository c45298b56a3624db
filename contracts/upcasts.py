"""Brings events of earlier schema versions to the present one.

A new version is needed where a field moves, changes its type or its meaning; an optional field
that is added needs none. Then: raise `contracts.events.SCHEMA_VERSION`, add a function here that
leads to it from the version before, and a recorded event of each subject to
`tests/contracts/recorded_events`.
"""

from collections.abc import Callable
from typing import Any

from contracts.subjects import PipelineSubject, Subject

Document = dict[str, Any]
"""An event as its JSON says, envelope and payload."""


class NoUpcast(LookupError):
    """No function leads on from the version."""


def upcast(subject: Subject, document: Document, version: int) -> Document:
    """Return `document`, an event of `subject`, in the schema of `version`.

    Raises:
        NoUpcast: its own version cannot be brought there.
    """
    while (found := document["schema_version"]) < version:
        if found not in _UPCASTS:
            raise NoUpcast(f"schema_version {found} has no way to {version}")
        document = _UPCASTS[found](subject, document) | {"schema_version": found + 1}
    return document


def _move_the_callers_name(subject: Subject, document: Document) -> Document:
    """Version 1 had the API key's name in the payload of chat events alone."""
    if subject is not PipelineSubject.CHAT_PERSIST or "api_key_name" not in document["payload"]:
        return document
    payload = dict(document["payload"])
    name = payload.pop("api_key_name")
    return {"api_key_name": name, **document, "payload": payload}


_UPCASTS: dict[int, Callable[[Subject, Document], Document]] = {1: _move_the_callers_name}
"""By the version they lead on from."""
