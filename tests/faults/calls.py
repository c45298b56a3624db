"""The requests of a run, which its seed decides."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from contracts.encoder import MODEL_ALIAS
from tests.faults.history import CallKind
from tests.support.scripted_model_server import MODEL, SLOW_MODEL

Api = Literal["chat", "messages", "responses", "embeddings"]

_SHARES: tuple[tuple[Api, int], ...] = (
    ("chat", 45),
    ("messages", 20),
    ("responses", 20),
    ("embeddings", 15),
)
_FUNCTIONS = ("measure_level", "open_gate")
_TOPICS = ("the spillway gate", "the turbine hall", "the divers", "ünïcode 模型 \U0001f30a")


@dataclass(frozen=True)
class Call:
    """One request to the gateway."""

    correlation_id: str
    api: Api
    question: str
    is_streaming: bool = False
    is_slow: bool = False
    functions: tuple[str, ...] = ()
    may_search: bool = True
    is_kept: bool = False
    """Of a response: whether the gateway is to keep it."""

    @property
    def kind(self) -> CallKind:
        return "embeddings" if self.api == "embeddings" else "chat"

    @property
    def path(self) -> str:
        paths = {
            "chat": "/v1/chat/completions",
            "messages": "/v1/messages",
            "responses": "/v1/responses",
            "embeddings": "/v1/embeddings",
        }
        return paths[self.api]

    @property
    def description(self) -> str:
        marks = [self.api, *self.functions]
        marks += [name for name in ("is_streaming", "is_slow", "is_kept") if getattr(self, name)]
        return " ".join(mark.removeprefix("is_") for mark in marks)

    @property
    def body(self) -> dict[str, Any]:
        """The request's body."""
        if self.api == "embeddings":
            return {"model": MODEL_ALIAS, "input": [self.question, f"{self.question} again"]}
        body: dict[str, Any] = {"model": SLOW_MODEL if self.is_slow else MODEL}
        if self.is_streaming:
            body["stream"] = True
        if self.api == "responses":
            body |= {"input": self.question, "store": self.is_kept}
        else:
            body["messages"] = [{"role": "user", "content": self.question}]
        if self.api == "messages":
            body["max_tokens"] = 1000
        if self.functions:
            body["tools"] = [_tool(self.api, name) for name in self.functions]
        return body


def calls_of(seed: int) -> Iterator[Call]:
    """Yield the calls of a run, without end."""
    chance = random.Random(f"calls {seed}")
    apis = [api for api, _ in _SHARES]
    shares = [share for _, share in _SHARES]
    number = 0
    while True:
        [api] = chance.choices(apis, shares)
        is_streaming = api != "embeddings" and chance.random() < 0.5
        count = chance.choices((0, 1, 2), (75, 15, 10))[0]
        yield Call(
            correlation_id=f"faults-{seed}-{number}",
            api=api,
            question=f"Question {number} of {seed}: what of {chance.choice(_TOPICS)}?",
            is_streaming=is_streaming,
            is_slow=is_streaming and chance.random() < 0.1,
            functions=_FUNCTIONS[:count] if api != "embeddings" else (),
            may_search=chance.random() < 0.7,
            is_kept=api == "responses" and chance.random() < 0.5,
        )
        number += 1


def _tool(api: Api, name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"question": {"type": "string"}}}
    if api == "messages":
        return {"name": name, "input_schema": schema}
    function = {"name": name, "parameters": schema}
    if api == "responses":
        return {"type": "function", **function}
    return {"type": "function", "function": function}
