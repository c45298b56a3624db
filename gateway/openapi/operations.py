"""One route as the OpenAPI document describes it (https://spec.openapis.org/oas/v3.1.0)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import GatewayError
from gateway.openapi.errors import describe_errors

Schema = Mapping[str, Any]

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Answer:
    """What comes back with one status."""

    description: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    """Schema by media type."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Meaning by name."""


@dataclass(frozen=True)
class Parameter:
    """A value in the path, the query or a header."""

    name: str
    where: str
    """`path`, `query` or `header`."""
    description: str
    schema: Schema
    is_required: bool = False


@dataclass(frozen=True)
class Operation:
    """A method of a path."""

    method: str
    path: str
    name: str
    """Unique: clients that are generated from the document name their function by it."""
    group: str
    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    body: Schema | None = None
    parameters: Sequence[Parameter] = ()
    errors: Sequence[type[GatewayError]] = ()
    error_envelope: str = "OpenAIError"
    """Name of the schema."""
    passes_on_errors: bool = False
    """Errors of a backend come with the backend's own status."""

    def render(self) -> dict[str, Any]:
        """Return the operation object."""
        rendered: dict[str, Any] = {
            "operationId": self.name,
            "tags": [self.group],
            "summary": self.summary,
        }
        if self.description:
            rendered["description"] = self.description
        if self.parameters:
            rendered["parameters"] = [_render_parameter(each) for each in self.parameters]
        if self.body is not None:
            rendered["requestBody"] = {"required": True, "content": {JSON: {"schema": self.body}}}
        responses = {str(status): _render_answer(answer) for status, answer in self.answers.items()}
        envelope = {JSON: {"schema": reference(self.error_envelope)}}
        for status, description in describe_errors(self.errors):
            if status not in responses:
                responses[status] = {"description": description, "content": envelope}
        if self.passes_on_errors:
            responses["default"] = {
                "description": "The backend's own error, with its status and in its words.",
                "content": envelope,
            }
        rendered["responses"] = responses
        return rendered


def reference(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _render_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
        "required": parameter.is_required,
        "schema": parameter.schema,
    }


def _render_answer(answer: Answer) -> dict[str, Any]:
    rendered: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        rendered["headers"] = {
            name: {"description": meaning, "schema": {"type": "string"}}
            for name, meaning in answer.headers.items()
        }
    if answer.content:
        rendered["content"] = {
            media_type: {"schema": schema} for media_type, schema in answer.content.items()
        }
    return rendered
