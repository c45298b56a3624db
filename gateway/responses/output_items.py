"""Output items while they grow. Each step of an item is an event for the client."""

from typing import Any, Protocol

from gateway.responses.citations import Citation, cite_sources
from gateway.responses.ids import new_id
from gateway.responses.reasoning import seal_reasoning
from gateway.responses.tools import unwrap_custom_input

IN_PROGRESS = "in_progress"
COMPLETED = "completed"
INCOMPLETE = "incomplete"

Event = tuple[str, dict[str, Any]]
"""Type and fields of an event; its sequence number is set when it is written."""


class OutputItem(Protocol):
    """An item of `output` that is not complete yet."""

    index: int

    def close(self, status: str) -> list[Event]:
        """Complete the item; return the events that say so."""
        ...

    def describe(self, status: str) -> dict[str, Any]:
        """Return the item as it stands."""
        ...


def added(item: OutputItem) -> Event:
    return "response.output_item.added", {
        "output_index": item.index,
        "item": item.describe(IN_PROGRESS),
    }


def done(item: OutputItem, status: str) -> Event:
    return "response.output_item.done", {
        "output_index": item.index,
        "item": item.describe(status),
    }


class MessageItem:
    """An assistant's message of one part: text, or a refusal."""

    def __init__(self, index: int, *, is_refusal: bool, citations: list[Citation]) -> None:
        self.index = index
        self.is_refusal = is_refusal
        self._id = new_id("msg")
        self._pieces: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._citations = citations
        self._annotations: list[dict[str, Any]] = []
        self._is_open = False

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self.index, "content_index": 0}

    def open(self) -> list[Event]:
        opening = [
            added(self),
            ("response.content_part.added", {**self._place, "part": self._part()}),
        ]
        self._is_open = True
        return opening

    def add(self, text: str, logprobs: list[dict[str, Any]]) -> Event:
        self._pieces.append(text)
        if self.is_refusal:
            return "response.refusal.delta", {**self._place, "delta": text}
        self._logprobs += logprobs
        return "response.output_text.delta", {
            **self._place,
            "delta": text,
            "logprobs": [_short_logprob(each) for each in logprobs],
        }

    def close(self, status: str) -> list[Event]:
        text = "".join(self._pieces)
        events: list[Event] = []
        if self.is_refusal:
            events.append(("response.refusal.done", {**self._place, "refusal": text}))
        else:
            self._annotations = cite_sources(text, self._citations)
            for index, annotation in enumerate(self._annotations):
                events.append(
                    (
                        "response.output_text.annotation.added",
                        {**self._place, "annotation_index": index, "annotation": annotation},
                    )
                )
            logprobs = [_short_logprob(each) for each in self._logprobs]
            events.append(
                (
                    "response.output_text.done",
                    {**self._place, "text": text, "logprobs": logprobs},
                )
            )
        events.append(("response.content_part.done", {**self._place, "part": self._part()}))
        events.append(done(self, status))
        return events

    def describe(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [self._part()] if self._is_open else [],
        }

    def _part(self) -> dict[str, Any]:
        text = "".join(self._pieces)
        if self.is_refusal:
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": self._annotations,
            "logprobs": self._logprobs,
        }


class ReasoningItem:
    """What the model thinks: as its content, or as a summary where the client asked for one.

    A local model writes no summaries, so the summary is the reasoning itself.
    """

    def __init__(self, index: int, *, as_summary: bool, is_sealed: bool) -> None:
        self.index = index
        self._as_summary = as_summary
        self._is_sealed = is_sealed
        self._id = new_id("rs")
        self._pieces: list[str] = []
        self._is_open = False

    @property
    def _place(self) -> dict[str, Any]:
        part = "summary_index" if self._as_summary else "content_index"
        return {"item_id": self._id, "output_index": self.index, part: 0}

    def open(self) -> list[Event]:
        opening = [added(self), (self._part_event("added"), {**self._place, "part": self._part()})]
        self._is_open = True
        return opening

    def add(self, text: str) -> Event:
        self._pieces.append(text)
        return self._text_event("delta"), {**self._place, "delta": text}

    def close(self, status: str) -> list[Event]:
        return [
            (self._text_event("done"), {**self._place, "text": "".join(self._pieces)}),
            (self._part_event("done"), {**self._place, "part": self._part()}),
            done(self, status),
        ]

    def describe(self, status: str) -> dict[str, Any]:
        parts = [self._part()] if self._is_open else []
        item: dict[str, Any] = {
            "id": self._id,
            "type": "reasoning",
            "status": status,
            "summary": parts if self._as_summary else [],
        }
        if not self._as_summary:
            item["content"] = parts
        if self._is_sealed and status != IN_PROGRESS:
            item["encrypted_content"] = seal_reasoning("".join(self._pieces))
        return item

    def _part(self) -> dict[str, Any]:
        kind = "summary_text" if self._as_summary else "reasoning_text"
        return {"type": kind, "text": "".join(self._pieces)}

    def _text_event(self, step: str) -> str:
        kind = "reasoning_summary_text" if self._as_summary else "reasoning_text"
        return f"response.{kind}.{step}"

    def _part_event(self, step: str) -> str:
        kind = "reasoning_summary_part" if self._as_summary else "content_part"
        return f"response.{kind}.{step}"


class FunctionCallItem:
    """A call of one of the client's functions."""

    def __init__(self, index: int, *, call_id: str, name: str) -> None:
        self.index = index
        self._id = new_id("fc")
        self._call_id = call_id
        self._name = name
        self._pieces: list[str] = []

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self.index}

    def open(self) -> list[Event]:
        return [added(self)]

    def add(self, arguments: str) -> list[Event]:
        self._pieces.append(arguments)
        return [("response.function_call_arguments.delta", {**self._place, "delta": arguments})]

    def close(self, status: str) -> list[Event]:
        arguments = {"name": self._name, "arguments": "".join(self._pieces)}
        return [
            ("response.function_call_arguments.done", {**self._place, **arguments}),
            done(self, status),
        ]

    def describe(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._pieces),
        }


class CustomToolCallItem:
    """A call of a tool with free text, which the model wrote as a function's only argument.

    The text is known once its JSON is whole, so it comes in one delta.
    """

    def __init__(self, index: int, *, call_id: str, name: str) -> None:
        self.index = index
        self._id = new_id("ctc")
        self._call_id = call_id
        self._name = name
        self._pieces: list[str] = []
        self._input = ""

    def open(self) -> list[Event]:
        return [added(self)]

    def add(self, arguments: str) -> list[Event]:
        self._pieces.append(arguments)
        return []

    def close(self, status: str) -> list[Event]:
        self._input = unwrap_custom_input("".join(self._pieces))
        place = {"item_id": self._id, "output_index": self.index}
        return [
            ("response.custom_tool_call_input.delta", {**place, "delta": self._input}),
            ("response.custom_tool_call_input.done", {**place, "input": self._input}),
            done(self, status),
        ]

    def describe(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "custom_tool_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "input": self._input,
        }


def _short_logprob(logprob: dict[str, Any]) -> dict[str, Any]:
    """Deltas leave the bytes out, which the finished part has."""
    return {
        "token": logprob.get("token"),
        "logprob": logprob.get("logprob"),
        "top_logprobs": [
            {"token": each.get("token"), "logprob": each.get("logprob")}
            for each in logprob.get("top_logprobs") or ()
        ],
    }
