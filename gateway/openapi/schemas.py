"""JSON Schemas of our own Structs."""

from collections.abc import Iterable
from typing import Any

import msgspec


def schemas_of(structs: Iterable[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return the schema of each Struct, and of those that it uses, by name."""
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return schemas


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may be null."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
