"""What a model says in one answer, before a server puts it into its own format."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reasoning:
    """Thoughts, in the pieces in which they are streamed."""

    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """Text, in the pieces in which it is streamed."""

    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """A call of a function; its arguments are JSON, in the pieces in which it is streamed."""

    tool_call_id: str
    name: str
    arguments: tuple[str, ...]


Part = Reasoning | Text | Call


@dataclass(frozen=True)
class Turn:
    """One answer."""

    parts: tuple[Part, ...]
    stop: str = "stop"
    """The finish reason of an answer without tool calls."""
    prompt_tokens: int = 17
    completion_tokens: int = 23

    @property
    def text(self) -> str:
        return "".join(
            piece for part in self.parts if isinstance(part, Text) for piece in part.pieces
        )

    @property
    def reasoning(self) -> str:
        return "".join(
            piece for part in self.parts if isinstance(part, Reasoning) for piece in part.pieces
        )

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.calls else self.stop


Delta = dict[str, Any]


def deltas(turn: Turn, *, whole_calls: bool = False, mixes: bool = False) -> Iterator[Delta]:
    """Yield what is streamed, with the keys `reasoning`, `content` and `tool_calls`.

    Args:
        whole_calls: name and arguments of a call come at once, as tool parsers do that wait for
            a call's end.
        mixes: a call begins in the chunk that holds the piece of text before it.
    """
    held: Delta = {}
    for delta in _single_deltas(turn, whole_calls=whole_calls):
        if mixes and "content" in delta:
            if held:
                yield held
            held = delta
        elif held and "tool_calls" in delta:
            yield {**held, **delta}
            held = {}
        else:
            if held:
                yield held
            held = {}
            yield delta
    if held:
        yield held


def _single_deltas(turn: Turn, *, whole_calls: bool) -> Iterator[Delta]:
    index = 0
    for part in turn.parts:
        if isinstance(part, Reasoning):
            yield from ({"reasoning": piece} for piece in part.pieces)
        elif isinstance(part, Text):
            yield from ({"content": piece} for piece in part.pieces)
        else:
            yield from _call_deltas(part, index, whole=whole_calls)
            index += 1


def _call_deltas(call: Call, index: int, *, whole: bool) -> Iterator[Delta]:
    first = "".join(call.arguments) if whole else ""
    head = {
        "index": index,
        "id": call.tool_call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": first},
    }
    yield {"tool_calls": [head]}
    if not whole:
        for piece in call.arguments:
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def rename_reasoning(delta: Delta, name: str) -> Delta:
    """Return `delta` with a server's own name for reasoning."""
    return {name if key == "reasoning" else key: value for key, value in delta.items()}
