"""JSON Schemas of our own Structs."""

from typing import Any

import msgspec

from gateway.openai.requests import RetrievalControls

STRUCTS: tuple[type[msgspec.Struct], ...] = (RetrievalControls,)
"""Those that the document refers to by their name."""


def schemas_of_structs() -> dict[str, Any]:
    """Return the schema of each Struct, and of those that it uses, by name."""
    _, schemas = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    return schemas


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may be null."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
