"""Tools of a request as chat completions have them: functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from gateway.errors import InvalidRequest
from gateway.responses.file_search import FILE_SEARCH, FileSearch, read_file_search
from gateway.responses.items import convert

_Name = Annotated[str, Meta(min_length=1, max_length=128)]

_CUSTOM_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input, verbatim."}},
    "required": ["input"],
    "additionalProperties": False,
}
_TOOL_CHOICES = ("none", "auto", "required")


class _Function(Struct):
    name: _Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Format(Struct):
    type: Literal["text", "grammar"] = "text"
    syntax: str | None = None
    definition: str | None = None


class _Custom(Struct):
    name: _Name
    description: str | None = None
    format: _Format | None = None


class _NamedChoice(Struct):
    name: _Name


class _AllowedTools(Struct):
    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class _CustomArguments(Struct):
    input: str


@dataclass(frozen=True)
class ToolSet:
    """The tools of one request."""

    shown: Sequence[Mapping[str, Any]]
    """As the response repeats them."""
    functions: Sequence[dict[str, Any]]
    """For the chat completion."""
    tool_choice: str | dict[str, Any] | None
    """For the chat completion; None where the client leaves it open."""
    custom_names: frozenset[str]
    """Of the functions, those that stand for tools with free text."""
    file_search: FileSearch | None


def read_tools(
    tools: Sequence[dict[str, Any]], tool_choice: str | dict[str, Any] | None
) -> ToolSet:
    """Return what the request's tools come to.

    Raises:
        InvalidRequest: a tool is malformed or of a kind that only OpenAI hosts, or the choice
            names none of them.
    """
    shown: list[Mapping[str, Any]] = []
    functions: dict[tuple[str, str], dict[str, Any]] = {}
    file_search: FileSearch | None = None
    for index, tool in enumerate(tools):
        path, kind = f"tools[{index}]", tool.get("type")
        if kind == "function":
            function = convert(tool, _Function, path)
            shown.append({"description": None, "parameters": None, "strict": None, **tool})
            functions[kind, function.name] = _chat_function(
                function.name, function.description, function.parameters, function.strict
            )
        elif kind == "custom":
            custom = convert(tool, _Custom, path)
            shown.append(tool)
            functions[kind, custom.name] = _chat_function(
                custom.name, _custom_description(custom), _CUSTOM_PARAMETERS, None
            )
        elif kind == FILE_SEARCH:
            if file_search is not None:
                raise InvalidRequest("'file_search' can be given once.", param=path)
            file_search = read_file_search(tool, path)
            shown.append(tool)
        else:
            raise InvalidRequest(
                f"Tools of the type {kind!r} are not available at this gateway. Supported types"
                " are: 'function', 'custom', and 'file_search'.",
                param=f"{path}.type",
                code="unsupported_tool",
            )
    allowed, choice = _read_choice(tool_choice, functions, has_file_search=file_search is not None)
    return ToolSet(
        shown=shown,
        functions=[functions[key] for key in allowed],
        tool_choice=choice if allowed else None,
        custom_names=frozenset(name for kind, name in functions if kind == "custom"),
        file_search=file_search,
    )


def wrap_custom_input(text: str) -> str:
    """Return the arguments of the function that stands for a tool with free text."""
    return msgspec.json.encode({"input": text}).decode()


def unwrap_custom_input(arguments: str) -> str:
    """Return the free text; the arguments as they are where a model kept to no shape."""
    try:
        return msgspec.json.decode(arguments, type=_CustomArguments).input
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments


def _chat_function(
    name: str, description: str | None, parameters: dict[str, Any] | None, strict: bool | None
) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    if parameters is not None:
        function["parameters"] = parameters
    if strict is not None:
        function["strict"] = strict
    return {"type": "function", "function": function}


def _custom_description(tool: _Custom) -> str | None:
    if tool.format is None or tool.format.definition is None:
        return tool.description
    grammar = f"The input follows this {tool.format.syntax} grammar:\n{tool.format.definition}"
    return grammar if tool.description is None else f"{tool.description}\n\n{grammar}"


def _read_choice(
    choice: str | dict[str, Any] | None,
    functions: Mapping[tuple[str, str], object],
    *,
    has_file_search: bool,
) -> tuple[Sequence[tuple[str, str]], str | dict[str, Any] | None]:
    """Return the keys of the functions that may be called, and the choice among them."""
    everything = list(functions)
    if choice is None:
        return everything, None
    if isinstance(choice, str):
        if choice not in _TOOL_CHOICES:
            raise InvalidRequest(
                f"Invalid value: {choice!r}. Supported values are: 'none', 'auto', and 'required'.",
                param="tool_choice",
            )
        return everything, choice
    kind = choice.get("type")
    if kind in ("function", "custom"):
        name = convert(choice, _NamedChoice, "tool_choice").name
        if (kind, name) not in functions:
            raise InvalidRequest(
                f"Tool choice {name!r} not found in 'tools' parameter.", param="tool_choice"
            )
        return everything, {"type": "function", "function": {"name": name}}
    if kind == "allowed_tools":
        allowed = convert(choice, _AllowedTools, "tool_choice")
        named = {(tool.get("type"), tool.get("name")) for tool in allowed.tools}
        return [key for key in everything if key in named], allowed.mode
    if kind == FILE_SEARCH and has_file_search:
        # The search is made anyway, before the model is asked.
        return everything, None
    raise InvalidRequest(
        f"Tool choice of the type {kind!r} not found in 'tools' parameter.", param="tool_choice"
    )
