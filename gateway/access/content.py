"""Takes the content out of an event where the caller's key asks for it.

What remains is what happened: models, figures, outcomes, identifiers of chunks and tools.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from contracts.events import ContentCapture
from contracts.payloads import ChatPersist, Composition, FlowLineage, Payload, Retrieval, ToolCall

P = TypeVar("P", bound=Payload)

WITHHELD = "[redacted]"

_STRUCTURE = frozenset({"role", "type", "id", "tool_call_id", "call_id", "tool_use_id"})
"""Fields whose text says what a part is, not what it says."""


def withhold_content(payload: P, capture: ContentCapture) -> P:
    """Return `payload` as `capture` allows: `redacted` keeps the shape of texts, `off` nothing."""
    withhold = _WITHHOLDERS.get(type(payload))
    if capture == "full" or withhold is None:
        return payload
    return structs.replace(payload, **withhold(payload, capture == "redacted"))


def _of_chat(chat: ChatPersist, keeps_shape: bool) -> dict[str, Any]:
    return {
        "messages": _redact(chat.messages, []) if keeps_shape else [],
        "answer": _redact(chat.answer, None) if keeps_shape else None,
        "tools": _redact(chat.tools, []) if keeps_shape else [],
        "parameters": _figures_of(_plain(chat.parameters, {})),
        "error": None if chat.error is None else WITHHELD,
    }


def _of_lineage(flow: FlowLineage, _keeps_shape: bool) -> dict[str, Any]:
    return {
        "stages": [
            structs.replace(stage, details={**stage.details, "error": WITHHELD})
            if "error" in stage.details
            else stage
            for stage in flow.stages
        ]
    }


def _of_tool_call(_call: ToolCall, keeps_shape: bool) -> dict[str, Any]:
    return {"arguments": WITHHELD if keeps_shape else ""}


def _of_query(_payload: Retrieval | Composition, keeps_shape: bool) -> dict[str, Any]:
    return {"query": WITHHELD if keeps_shape else ""}


_WITHHOLDERS: Mapping[type, Callable[[Any, bool], dict[str, Any]]] = {
    ChatPersist: _of_chat,
    FlowLineage: _of_lineage,
    ToolCall: _of_tool_call,
    Retrieval: _of_query,
    Composition: _of_query,
}


def _figures_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that are numbers or switches: texts may hold anything."""
    return {name: value for name, value in parameters.items() if isinstance(value, int | float)}


def _redact(value: object, otherwise: Any) -> Any:
    return _redacted(_plain(value, otherwise))


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    if isinstance(value, dict):
        return {
            name: each if isinstance(each, str) and _is_structure(name, value) else _redacted(each)
            for name, each in value.items()
        }
    return value if value is None or isinstance(value, bool) else WITHHELD


def _is_structure(name: str, siblings: Mapping[str, Any]) -> bool:
    # A function's name says which tool it is; a message's, who speaks.
    return name in _STRUCTURE or (name == "name" and "role" not in siblings)


def _plain(value: object, otherwise: Any) -> Any:
    """Return `value` decoded: payloads hold the client's own JSON as it came."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return otherwise
