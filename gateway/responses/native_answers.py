"""Reads a backend's own responses and their events, for the record."""

from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Raw, Struct

from contracts.payloads import TokenUsage
from gateway.openai.answers import Answer, FunctionCall, NoAnswer
from gateway.openai.sse import SseEvent
from gateway.responses.items import FUNCTION_CALL, MESSAGE, REASONING, kind_of
from gateway.responses.output_items import COMPLETED, INCOMPLETE

FAILED = "failed"
TERMINAL_EVENTS = ("response.completed", "response.incomplete", "response.failed")

_DELTAS = (
    b"response.output_text.delta",
    b"response.reasoning_text.delta",
    b"response.reasoning_summary_text.delta",
    b"response.refusal.delta",
    b"response.function_call_arguments.delta",
)
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class NativeEvent(Struct):
    """What must be known of an event."""

    type: str = ""
    sequence_number: int | None = None
    response: Raw = Raw(b"")
    item: Raw = Raw(b"")
    message: str | None = None


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _Details | None = None


class _Reason(Struct):
    reason: str | None = None


class _Error(Struct):
    message: str | None = None


class _Response(Struct):
    id: str
    status: str
    output: list[dict[str, Any]]
    usage: _Usage | None = None
    incomplete_details: _Reason | None = None
    error: _Error | None = None


_event_decoder = msgspec.json.Decoder(NativeEvent)
_response_decoder = msgspec.json.Decoder(_Response)
_item_decoder = msgspec.json.Decoder(dict[str, Any])


class NativeRecorder:
    """Reads the events of a stream; see `StreamRecorder`."""

    def __init__(self) -> None:
        self.has_output = False
        self.is_finished = False
        self.is_over = False
        self.error: str | None = None
        self._items: list[dict[str, Any]] = []
        self._response: _Response | None = None

    def add(self, event: SseEvent) -> None:
        if event.data is None:
            return
        if not self.has_output and any(kind in event.data for kind in _DELTAS):
            self.has_output = True
        read = read_event(event)
        if read is None:
            return
        if read.type == "response.output_item.done":
            with suppress(msgspec.DecodeError):
                self._items.append(_item_decoder.decode(read.item))
        elif read.type in TERMINAL_EVENTS:
            self.is_finished = self.is_over = True
            try:
                self._response = _response_decoder.decode(read.response)
            except msgspec.DecodeError:
                self.error = "the last event holds no response"
                return
            if self._response.status == FAILED:
                error = self._response.error
                self.error = (error and error.message) or "the response failed"
        elif read.type == "error":
            self.is_over = True
            self.error = read.message or "the stream ended with an error"

    def missing_end(self) -> list[SseEvent]:
        return []

    def answer(self) -> Answer:
        if self._response is not None:
            return _describe(self._response)
        return _describe(_Response("", INCOMPLETE, self._items)) if self._items else Answer()


def read_event(event: SseEvent) -> NativeEvent | None:
    """Return an event of the protocol; None for what is no such event."""
    if event.data is None:
        return None
    try:
        return _event_decoder.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_answer(body: bytes) -> Answer:
    """Return what a whole response says, as one chat message. Raises NoAnswer."""
    try:
        return _describe(_response_decoder.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoAnswer(str(error)) from error


def _describe(response: _Response) -> Answer:
    texts: list[str] = []
    reasoning: list[str] = []
    calls: list[FunctionCall] = []
    for item in response.output:
        kind = kind_of(item)
        if kind == MESSAGE:
            texts += _texts(item.get("content"))
        elif kind == REASONING:
            reasoning += _texts(item.get("content")) or _texts(item.get("summary"))
        elif kind == FUNCTION_CALL:
            calls.append(
                FunctionCall(
                    position=len(calls),
                    tool_call_id=str(item.get("call_id") or ""),
                    name=str(item.get("name") or ""),
                    arguments=str(item.get("arguments") or ""),
                )
            )
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(texts) if texts or not calls else None,
    }
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    if calls:
        message["tool_calls"] = [
            {
                "id": call.tool_call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ]
    return Answer(
        message=message,
        finish_reason=_finish_reason(response, has_calls=bool(calls)),
        tool_calls=calls,
        usage=_read_usage(response.usage),
    )


def _finish_reason(response: _Response, *, has_calls: bool) -> str | None:
    if response.status == INCOMPLETE:
        details = response.incomplete_details
        return _FINISH_REASONS.get((details and details.reason) or "")
    if response.status != COMPLETED:
        return None
    return "tool_calls" if has_calls else "stop"


def _read_usage(usage: _Usage | None) -> TokenUsage:
    if usage is None:
        return TokenUsage()
    details = usage.input_tokens_details
    return TokenUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        cache_read_tokens=None if details is None else details.cached_tokens,
    )


def _texts(parts: object) -> list[str]:
    if isinstance(parts, str):
        return [parts]
    if not isinstance(parts, list):
        return []
    return [
        text
        for part in parts
        if isinstance(part, dict) and isinstance(text := part.get("text"), str)
    ]
