"""Builds a response from a chat completion's chunks, and tells each step as an event.

A complete (not streamed) answer is read as one chunk, so both give the same response.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time
from typing import Any

from gateway.openai.chunks import ChatChunk, Delta, ToolCallDelta, Usage
from gateway.openai.completions import arguments_text
from gateway.responses.citations import Citation
from gateway.responses.ids import new_id
from gateway.responses.output_items import (
    COMPLETED,
    INCOMPLETE,
    CustomToolCallItem,
    Event,
    FunctionCallItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
)
from gateway.responses.response_object import describe_usage

_INCOMPLETE_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""By a chat completion's finish reason; any other is a complete answer."""


@dataclass
class _Call:
    """A tool call of the chat completion; its item begins when its name is known."""

    call_id: str = ""
    name: str = ""
    waiting: list[str] = field(default_factory=list)
    """Arguments that came before the name."""
    item: FunctionCallItem | CustomToolCallItem | None = None


class ResponseBuilder:
    """The state of one response. Begin with `start`, end with `complete` or `fail`."""

    def __init__(
        self,
        response: dict[str, Any],
        *,
        custom_names: frozenset[str] = frozenset(),
        reasoning_as_summary: bool = False,
        seals_reasoning: bool = False,
    ) -> None:
        """
        Args:
            response: as `new_response` makes it; it is filled in.
            custom_names: functions that stand for tools with free text.
            seals_reasoning: reasoning items get `encrypted_content`.
        """
        self.response = response
        self._custom_names = custom_names
        self._reasoning_as_summary = reasoning_as_summary
        self._seals_reasoning = seals_reasoning
        self._items: list[OutputItem] = []
        self._finished_items: dict[int, dict[str, Any]] = {}
        self._speaking: MessageItem | ReasoningItem | None = None
        """The item that text or reasoning is being added to."""
        self._calls: dict[int, _Call] = {}
        self._citations: list[Citation] = []
        self._finish_reason: str | None = None
        self._usage: Usage | None = None
        self.has_started = False
        self.has_failed = False

    def start(self) -> list[Event]:
        """Return the events that open a stream; none if it is open."""
        if self.has_started:
            return []
        self.has_started = True
        return [
            (f"response.{step}", {"response": dict(self.response)})
            for step in ("created", "in_progress")
        ]

    def add_search(self, item: dict[str, Any]) -> list[Event]:
        """Take in a file search that was made: the whole `file_search_call`."""
        index = len(self._items)
        call = _FinishedItem(index, item)
        self._items.append(call)
        self._finished_items[index] = item
        place = {"output_index": index, "item_id": item["id"]}
        opened = {**item, "status": "in_progress", "results": None}
        steps = ["in_progress", "searching"]
        if item["status"] == COMPLETED:
            steps.append(COMPLETED)
        return [
            ("response.output_item.added", {"output_index": index, "item": opened}),
            *((f"response.file_search_call.{step}", dict(place)) for step in steps),
            ("response.output_item.done", {"output_index": index, "item": item}),
        ]

    def cite(self, citations: Sequence[Citation]) -> None:
        """Take in what the answer may cite."""
        self._citations = list(citations)

    def add(self, chunk: ChatChunk) -> list[Event]:
        """Take in a chunk, whose tool calls all have an index; return the events it makes."""
        if chunk.usage is not None:
            self._usage = chunk.usage
        choice = chunk.first_choice
        if choice is None:
            return []
        if choice.finish_reason is not None:
            self._finish_reason = choice.finish_reason
        if choice.addition is None:
            return []
        logprobs = (choice.logprobs and choice.logprobs.content) or []
        return self._add_delta(choice.addition, logprobs)

    def complete(self) -> list[Event]:
        """End the answer: return the events that close its items. `response` is then whole."""
        events: list[Event] = []
        if not self._items and not self._calls:
            # An answer of nothing is a message without text.
            events += self._speak_text("", is_refusal=False, logprobs=[])
        reason = _INCOMPLETE_REASONS.get(self._finish_reason or "")
        status = COMPLETED if reason is None else INCOMPLETE
        events += self._close_all(status)
        self.response.update(
            status=status,
            completed_at=int(time()) if reason is None else None,
            incomplete_details=None if reason is None else {"reason": reason},
            output=[self._finished_items[index] for index in range(len(self._items))],
            usage=describe_usage(self._usage),
        )
        return events

    def fail(self, code: str, message: str) -> None:
        """End the answer as failed; what came of it stays in `response`."""
        self.has_failed = True
        self._close_all(INCOMPLETE)
        self.response.update(
            status="failed",
            error={"code": code, "message": message},
            completed_at=None,
            incomplete_details=None,
            output=[self._finished_items[index] for index in range(len(self._items))],
            usage=describe_usage(self._usage),
        )

    def terminal_event(self) -> Event:
        """Return the event that ends the stream, with the whole response."""
        return f"response.{self.response['status']}", {"response": self.response}

    def _add_delta(self, delta: Delta, logprobs: list[dict[str, Any]]) -> list[Event]:
        events: list[Event] = []
        if reasoning := delta.reasoning_text:
            events += self._speak_reasoning(reasoning)
        if delta.content:
            events += self._speak_text(delta.content, is_refusal=False, logprobs=logprobs)
        if delta.refusal:
            events += self._speak_text(delta.refusal, is_refusal=True, logprobs=[])
        for call in delta.tool_calls or ():
            events += self._add_call(call)
        return events

    def _speak_reasoning(self, text: str) -> list[Event]:
        events: list[Event] = []
        item = self._speaking
        if not isinstance(item, ReasoningItem):
            events += self._close_speaking()
            item = ReasoningItem(
                len(self._items),
                as_summary=self._reasoning_as_summary,
                is_sealed=self._seals_reasoning,
            )
            events += self._begin_speaking(item)
        events.append(item.add(text))
        return events

    def _speak_text(
        self, text: str, *, is_refusal: bool, logprobs: list[dict[str, Any]]
    ) -> list[Event]:
        events: list[Event] = []
        item = self._speaking
        if not isinstance(item, MessageItem) or item.is_refusal is not is_refusal:
            events += self._close_speaking()
            item = MessageItem(len(self._items), is_refusal=is_refusal, citations=self._citations)
            events += self._begin_speaking(item)
        if text:
            events.append(item.add(text, logprobs))
        return events

    def _begin_speaking(self, item: MessageItem | ReasoningItem) -> list[Event]:
        self._speaking = item
        self._items.append(item)
        return item.open()

    def _add_call(self, delta: ToolCallDelta) -> list[Event]:
        call = self._calls.setdefault(delta.index or 0, _Call())
        if delta.id and not call.call_id:
            call.call_id = delta.id
        arguments = ""
        if delta.function is not None:
            if delta.function.name and not call.name:
                call.name = delta.function.name
            arguments = arguments_text(delta.function.arguments)
        if call.item is not None:
            return call.item.add(arguments) if arguments else []
        if arguments:
            call.waiting.append(arguments)
        return self._begin_call(call) if call.name else []

    def _begin_call(self, call: _Call) -> list[Event]:
        events = self._close_speaking()
        kind = CustomToolCallItem if call.name in self._custom_names else FunctionCallItem
        call.item = kind(len(self._items), call_id=call.call_id or new_id("call"), name=call.name)
        self._items.append(call.item)
        events += call.item.open()
        if call.waiting:
            events += call.item.add("".join(call.waiting))
        return events

    def _close_speaking(self) -> list[Event]:
        item, self._speaking = self._speaking, None
        return [] if item is None else self._close(item, COMPLETED)

    def _close_all(self, status: str) -> list[Event]:
        events: list[Event] = []
        for call in self._calls.values():
            if call.item is None:
                events += self._begin_call(call)
        self._speaking = None
        for item in self._items:
            if item.index not in self._finished_items:
                events += self._close(item, status)
        return events

    def _close(self, item: OutputItem, status: str) -> list[Event]:
        events = item.close(status)
        self._finished_items[item.index] = item.describe(status)
        return events


@dataclass
class _FinishedItem:
    """An item that was complete when it came."""

    index: int
    item: Mapping[str, Any]

    def close(self, _status: str) -> list[Event]:
        return []

    def describe(self, _status: str) -> dict[str, Any]:
        return dict(self.item)
