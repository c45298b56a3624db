"""Reads the body of `POST /v1/responses`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, json

from gateway.errors import InvalidRequest
from gateway.openai.fields import read_fields, read_struct
from gateway.openai.requests import RetrievalControls
from gateway.responses.items import Item
from gateway.responses.tools import ToolSet, read_tools

LOGPROBS = "message.output_text.logprobs"
SEARCH_RESULTS = "file_search_call.results"
ENCRYPTED_REASONING = "reasoning.encrypted_content"

INCLUDABLE = (
    SEARCH_RESULTS,
    LOGPROBS,
    ENCRYPTED_REASONING,
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "web_search_call.action.sources",
    "web_search_call.results",
)

UNAVAILABLE = {
    "conversation": "Conversations are not kept by this gateway: continue with"
    " 'previous_response_id'.",
    "prompt": "Prompt templates are not kept by this gateway: send 'instructions' and 'input'.",
    "moderation": "This gateway does not moderate.",
    "context_management": "This gateway does not compact conversations.",
}
"""Fields whose effect cannot be had, and that are no mere hints."""

_LARGEST_COUNT = 1_000_000_000
_BoundedText = Annotated[str, Meta(max_length=512)]
_Key = Annotated[str, Meta(max_length=64)]


class TextFormat(Struct):
    """How the answer's text is to be shaped."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextConfig(Struct):
    """The field `text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class ReasoningConfig(Struct):
    """The field `reasoning`."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponsesBody(Struct):
    """The fields of the protocol that are read here."""

    model: str | None = None
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=_LARGEST_COUNT)] | None = None
    max_tool_calls: Annotated[int, Meta(ge=0, le=_LARGEST_COUNT)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    parallel_tool_calls: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    include: list[str] | None = None
    metadata: Annotated[dict[_Key, _BoundedText], Meta(max_length=16)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    user: str | None = None
    retrieval: RetrievalControls | None = None


_body_decoder = json.Decoder(ResponsesBody)
_KNOWN_FIELDS = frozenset(
    (*ResponsesBody.__struct_fields__, *UNAVAILABLE, "stream_options", "prompt_cache_retention")
)


@dataclass
class ResponsesRequest:
    """A request, checked; what is sent on is made of it."""

    raw: bytes
    fields: Mapping[str, Raw]
    """The client's own bytes of each field."""
    body: ResponsesBody
    model: str
    items: list[Item]
    """The items of `input`; a text stands for a user's message."""
    tools: ToolSet
    include: frozenset[str]

    @property
    def is_streaming(self) -> bool:
        return bool(self.body.stream)

    @property
    def reasoning_as_summary(self) -> bool:
        """Whether the client wants reasoning as a summary."""
        reasoning = self.body.reasoning
        return reasoning is not None and bool(reasoning.summary or reasoning.generate_summary)

    @property
    def other_fields(self) -> dict[str, Raw]:
        """Fields that are none of the protocol's: a backend may know them."""
        return {name: raw for name, raw in self.fields.items() if name not in _KNOWN_FIELDS}


def read_responses_request(body: bytes) -> ResponsesRequest:
    """Decode the body of `POST /v1/responses`.

    Raises:
        InvalidRequest: it is no JSON object in UTF-8, a field is missing or of a wrong type, or
            it asks for what this gateway does not have; `param` is the field's path.
    """
    fields = read_fields(body)
    read = read_struct(body, _body_decoder)
    if read.model is None:
        raise _missing("model")
    if not read.model:
        raise InvalidRequest("'model' is empty.", param="model")
    _refuse_unavailable(fields, read)
    if read.input is None and read.previous_response_id is None:
        raise _missing("input")
    items = read.input
    if items is None:
        items = []
    elif isinstance(items, str):
        items = [{"type": "message", "role": "user", "content": items}]
    for name in read.include or ():
        if name not in INCLUDABLE:
            known = ", ".join(repr(each) for each in INCLUDABLE)
            raise InvalidRequest(
                f"Invalid value: {name!r}. Supported values are: {known}.", param="include"
            )
    text_format = None if read.text is None else read.text.format
    if text_format is not None and text_format.type == "json_schema":
        if text_format.name is None:
            raise _missing("text.format.name")
        if text_format.schema is None:
            raise _missing("text.format.schema")
    return ResponsesRequest(
        raw=body,
        fields=fields,
        body=read,
        model=read.model,
        items=items,
        tools=read_tools(read.tools or (), read.tool_choice),
        include=frozenset(read.include or ()),
    )


def _refuse_unavailable(fields: Mapping[str, Raw], body: ResponsesBody) -> None:
    if body.background:
        raise InvalidRequest(
            "This gateway runs nothing in the background: ask without 'background', streamed or"
            " not.",
            param="background",
            code="unsupported_parameter",
        )
    for name, reason in UNAVAILABLE.items():
        if name in fields and bytes(fields[name]) != b"null":
            raise InvalidRequest(reason, param=name, code="unsupported_parameter")


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
    )
