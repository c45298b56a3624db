"""Reads the body of `POST /v1/messages` and of `POST /v1/messages/count_tokens`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct, json

from gateway.anthropic.blocks import ContentBlock, TextBlock
from gateway.errors import InvalidRequest
from gateway.openai.fields import read_field, read_fields
from gateway.openai.requests import RetrievalControls

_PARAMETERS = frozenset({"temperature", "top_p", "top_k"})
"""Those that chat completions have under the same name."""
_UNDERSTOOD = frozenset(
    {
        "model", "messages", "system", "max_tokens", "stream", "stop_sequences", "tools",
        "tool_choice", "thinking", "output_config", "metadata", "retrieval",
    }
)  # fmt: skip
_WITHOUT_EFFECT = frozenset(
    {
        "anthropic_version", "betas", "cache_control", "context_management", "diagnostics",
        "inference_geo", "service_tier", "speed", "user_profile_id", "workspace_id",
    }
)  # fmt: skip
"""They steer Anthropic's own machines, not the answer."""
_LARGEST_COUNT = 2**31 - 1
_UNSUPPORTED = ("container", "mcp_servers")


class Message(Struct):
    """One turn; `system` may stand between others."""

    role: Literal["user", "assistant", "system"]
    content: str | list[ContentBlock]


class Tool(Struct):
    """A tool that the client runs."""

    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Raw] | None = None
    strict: bool | None = None


class ToolChoice(Struct):
    """Whether and which tool is to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct):
    """Whether the model is to reason before it answers."""

    type: str
    budget_tokens: Annotated[int, Meta(ge=0, le=_LARGEST_COUNT)] | None = None


class OutputFormat(Struct):
    """The JSON Schema that the answer is to follow."""

    type: Literal["json_schema"]
    schema: dict[str, Raw]


class OutputConfig(Struct):
    """How the answer is to be made."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class _Metadata(Struct):
    user_id: str | None = None


_model_decoder = json.Decoder(Annotated[str, Meta(min_length=1)])
_messages_decoder = json.Decoder(Annotated[list[Message], Meta(min_length=1)])
_system_decoder = json.Decoder(str | list[TextBlock] | None)
_max_tokens_decoder = json.Decoder(Annotated[int, Meta(ge=1, le=_LARGEST_COUNT)])
_stream_decoder = json.Decoder(bool | None)
_stop_decoder = json.Decoder(list[str] | None)
_tools_decoder = json.Decoder(list[Tool] | None)
_tool_choice_decoder = json.Decoder(ToolChoice | None)
_thinking_decoder = json.Decoder(Thinking | None)
_output_config_decoder = json.Decoder(OutputConfig | None)
_metadata_decoder = json.Decoder(_Metadata | None)
_retrieval_decoder = json.Decoder(RetrievalControls | None)


@dataclass
class MessagesRequest:
    """A request for a message; `fields` are the client's own bytes."""

    body: bytes
    fields: dict[str, Raw]
    model: str
    messages: list[Message]
    system: str | list[TextBlock] | None
    max_tokens: int | None
    """None only where tokens are to be counted."""
    is_streaming: bool
    stop_sequences: list[str]
    tools: list[Tool]
    tool_choice: ToolChoice | None
    thinking: Thinking | None
    output_config: OutputConfig | None
    user_id: str | None
    retrieval: RetrievalControls

    @property
    def parameters(self) -> dict[str, Raw]:
        """The fields that a chat completion takes as they are: `temperature`, and unknown ones.

        Servers have sampling parameters of their own, which their users send in any dialect.
        """
        return {
            name: raw
            for name, raw in self.fields.items()
            if name in _PARAMETERS or name not in _UNDERSTOOD | _WITHOUT_EFFECT
        }


def read_messages_request(body: bytes, *, for_counting: bool = False) -> MessagesRequest:
    """Decode the body of a request; one `for_counting` needs no `max_tokens`.

    Raises:
        InvalidRequest: it is no JSON object in UTF-8, a field is missing, of a wrong type, or asks
            for what only Anthropic's servers have; `param` is the field's path.
    """
    fields = read_fields(body)
    for name in _UNSUPPORTED:
        if name in fields and bytes(fields[name]) not in (b"null", b"[]"):
            raise InvalidRequest(f"'{name}' is not supported by this gateway.", param=name)
    max_tokens = None
    if not for_counting:
        max_tokens = read_field(fields, "max_tokens", _max_tokens_decoder)
    stop_sequences = read_field(fields, "stop_sequences", _stop_decoder, default=None)
    metadata = read_field(fields, "metadata", _metadata_decoder, default=None)
    retrieval = read_field(fields, "retrieval", _retrieval_decoder, default=None)
    return MessagesRequest(
        body=body,
        fields=fields,
        model=read_field(fields, "model", _model_decoder),
        messages=read_field(fields, "messages", _messages_decoder),
        system=read_field(fields, "system", _system_decoder, default=None),
        max_tokens=max_tokens,
        is_streaming=bool(read_field(fields, "stream", _stream_decoder, default=None)),
        stop_sequences=stop_sequences or [],
        tools=_read_tools(fields),
        tool_choice=_read_tool_choice(fields),
        thinking=read_field(fields, "thinking", _thinking_decoder, default=None),
        output_config=read_field(fields, "output_config", _output_config_decoder, default=None),
        user_id=None if metadata is None else metadata.user_id,
        retrieval=retrieval or RetrievalControls(),
    )


def _read_tools(fields: dict[str, Raw]) -> list[Tool]:
    tools = read_field(fields, "tools", _tools_decoder, default=None)
    for position, tool in enumerate(tools or ()):
        if tool.type not in (None, "custom"):
            raise InvalidRequest(
                f"Tools of type {tool.type!r} are Anthropic's own; this gateway serves tools with"
                " an 'input_schema'.",
                param=f"tools[{position}].type",
            )
        if tool.input_schema is None:
            raise InvalidRequest(
                f"Missing required parameter: 'tools[{position}].input_schema'.",
                param=f"tools[{position}].input_schema",
                code="missing_required_parameter",
            )
    return tools or []


def _read_tool_choice(fields: dict[str, Raw]) -> ToolChoice | None:
    choice = read_field(fields, "tool_choice", _tool_choice_decoder, default=None)
    if choice is not None and choice.type == "tool" and not choice.name:
        raise InvalidRequest(
            "Missing required parameter: 'tool_choice.name'.",
            param="tool_choice.name",
            code="missing_required_parameter",
        )
    return choice
