"""Input items of a request: what each kind must have.

Items stay the client's own objects, unknown fields included, since they are listed and sent back
as they came. What is declared here is what a translation needs of them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from gateway.errors import InvalidRequest
from gateway.openai.fields import invalid_type
from gateway.responses.ids import is_storable, new_id

Item = dict[str, Any]

MESSAGE = "message"
REASONING = "reasoning"
FUNCTION_CALL = "function_call"
FUNCTION_CALL_OUTPUT = "function_call_output"
CUSTOM_TOOL_CALL = "custom_tool_call"
CUSTOM_TOOL_CALL_OUTPUT = "custom_tool_call_output"
FILE_SEARCH_CALL = "file_search_call"
ITEM_REFERENCE = "item_reference"

_Id = Annotated[str, Meta(min_length=1, max_length=512)]


class Message(Struct):
    """A turn of the conversation."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]


class ReasoningText(Struct):
    """A piece of a reasoning item's summary or content."""

    text: str = ""


class Reasoning(Struct):
    """What the model thought before it answered."""

    summary: list[ReasoningText] | None = None
    content: list[ReasoningText] | None = None
    encrypted_content: str | None = None


class FunctionCall(Struct):
    """A call of a function that the model made."""

    call_id: _Id
    name: str
    arguments: str


class CustomToolCall(Struct):
    """A call of a tool that takes free text."""

    call_id: _Id
    name: str
    input: str


class ToolCallOutput(Struct):
    """What the client's tool gave back."""

    call_id: _Id
    output: str | list[dict[str, Any]]


class ItemReference(Struct):
    """Stands for an item that was stored before."""

    id: _Id


class FileSearchCall(Struct):
    """A search that the gateway made; what it found has gone into the prompt of its own time."""

    queries: list[str] | None = None


ReadItem = (
    Message
    | Reasoning
    | FunctionCall
    | CustomToolCall
    | ToolCallOutput
    | ItemReference
    | FileSearchCall
)

_KINDS: Mapping[str, type[ReadItem]] = {
    MESSAGE: Message,
    REASONING: Reasoning,
    FUNCTION_CALL: FunctionCall,
    CUSTOM_TOOL_CALL: CustomToolCall,
    FUNCTION_CALL_OUTPUT: ToolCallOutput,
    CUSTOM_TOOL_CALL_OUTPUT: ToolCallOutput,
    ITEM_REFERENCE: ItemReference,
    FILE_SEARCH_CALL: FileSearchCall,
}
_ID_PREFIXES = {
    MESSAGE: "msg",
    REASONING: "rs",
    FUNCTION_CALL: "fc",
    FUNCTION_CALL_OUTPUT: "fco",
    CUSTOM_TOOL_CALL: "ctc",
    CUSTOM_TOOL_CALL_OUTPUT: "ctco",
    FILE_SEARCH_CALL: "fs",
}

S = TypeVar("S")


def kind_of(item: Item) -> Any:
    """Return the item's type; an item that has a role and no type is a message."""
    kind = item.get("type")
    if kind is None and ("role" in item or "content" in item):
        return MESSAGE
    # The shorthand `{"id": "msg_1"}` is a reference: the SDKs let the type be left out.
    if kind is None and "id" in item:
        return ITEM_REFERENCE
    return kind


def is_cut_call(item: Item) -> bool:
    """Return whether the token limit cut off a tool's call: nobody can have answered it."""
    is_call = item.get("type") in (FUNCTION_CALL, CUSTOM_TOOL_CALL)
    return is_call and item.get("status") == "incomplete"


def read_item(item: Item, path: str) -> ReadItem:
    """Return the parts of `item` that a translation needs; `path` names it in an error.

    Raises:
        InvalidRequest: it is of no kind that is known here, or lacks something.
    """
    kind = kind_of(item)
    shape = _KINDS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        known = ", ".join(repr(name) for name in _KINDS)
        raise InvalidRequest(
            f"Invalid value: {kind!r}. Supported values are: {known}.", param=f"{path}.type"
        )
    return convert(item, shape, path)


def convert(value: Any, shape: type[S], path: str) -> S:
    """Return `value` as a `shape`. Raises InvalidRequest with the path of what is wrong."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise invalid_type(error, path) from error


def with_ids(items: Sequence[Item]) -> list[Item]:
    """Return the items as they are kept: each with its type and an ID."""
    return [_with_id(item) for item in items]


def _with_id(item: Item) -> Item:
    kind = kind_of(item)
    item_id = item.get("id")
    if not isinstance(item_id, str) or not item_id or not is_storable(item_id):
        item_id = new_id(_ID_PREFIXES[kind])
    kept = {**item, "id": item_id, "type": kind}
    if kind == MESSAGE:
        kept.setdefault("status", "completed")
        if isinstance(kept["content"], str):
            part_type = "output_text" if kept["role"] == "assistant" else "input_text"
            part: Item = {"type": part_type, "text": kept["content"]}
            if part_type == "output_text":
                part["annotations"] = []
            kept["content"] = [part]
    return kept
