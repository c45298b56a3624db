"""Reads a complete (not streamed) chat completion."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct, field

from gateway.openai.answers import Answer, FunctionCall, NoAnswer
from gateway.openai.chunks import Usage

_ABSENT = Raw(b"null")

_encoder = msgspec.json.Encoder()


class _Choice(Struct):
    index: int = 0
    message: Raw = _ABSENT
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice] | None = None
    usage: Usage | None = None


class _Function(Struct):
    name: str = ""
    arguments: str | dict[str, Any] | None = None


class _ToolCall(Struct):
    id: str | None = None
    function: _Function = field(default_factory=_Function)


class _Message(Struct):
    tool_calls: list[_ToolCall] | None = None


_completion_decoder = msgspec.json.Decoder(_Completion)
_message_decoder = msgspec.json.Decoder(_Message)
_fields_decoder = msgspec.json.Decoder(dict[str, Raw])


def read_completion(body: bytes) -> Answer:
    """Return what the answer says, of choice 0; its message keeps the backend's own bytes.

    Raises:
        NoAnswer: the body is not JSON, or not of a chat completion's shape.
    """
    answer = Answer()
    try:
        if not body.isascii():
            body.decode()
        completion = _completion_decoder.decode(body)
        if completion.usage is not None:
            answer.usage = completion.usage.recorded()
        for choice in completion.choices or ():
            if choice.index == 0 and choice.message != _ABSENT:
                answer.finish_reason = choice.finish_reason
                answer.tool_calls = _read_tool_calls(choice.message)
                # Encoded as it is; nothing in the gateway looks into it.
                answer.message = cast("dict[str, Any]", choice.message)
                break
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(str(error)) from error
    return answer


def with_fields(body: bytes, more: Mapping[str, object]) -> bytes:
    """Return the JSON object `body` with more fields; the others keep their bytes."""
    fields: dict[str, object] = dict(_fields_decoder.decode(body))
    fields.update(more)
    return _encoder.encode(fields)


def _read_tool_calls(message: Raw) -> list[FunctionCall]:
    raw = bytes(message)
    if b'"tool_calls"' not in raw:
        # Decoding proves that it is an object, which an event's reader relies on.
        if not raw.lstrip().startswith(b"{"):
            raise NoAnswer("the message is no object")
        return []
    return [
        FunctionCall(
            position=position,
            tool_call_id=call.id or "",
            name=call.function.name,
            arguments=arguments_text(call.function.arguments),
        )
        for position, call in enumerate(_message_decoder.decode(message).tool_calls or ())
    ]


def arguments_text(arguments: str | dict[str, Any] | None) -> str:
    """Return a call's arguments as text; some servers send them as an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return _encoder.encode(arguments).decode()
