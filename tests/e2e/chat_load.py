"""Chat requests through the gateway by the `openai` SDK, and what the model must have answered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI

from tests.support.scripted_model_server import MODEL, answer_to, tool_calls_for, usage_for

CORRELATION_HEADER = "X-Correlation-ID"


@dataclass(frozen=True)
class ChatCase:
    """One request."""

    correlation_id: str
    messages: Sequence[dict[str, Any]]
    is_streaming: bool = False
    tools: Sequence[dict[str, Any]] = ()
    asks_for_usage: bool = True
    model: str = MODEL

    @property
    def question(self) -> str:
        question: str = self.messages[-1]["content"]
        return question

    @property
    def expected_text(self) -> str | None:
        return None if self.tools else answer_to(self.question)

    @property
    def expected_calls(self) -> list[dict[str, Any]]:
        return tool_calls_for(self.question, self.tools)

    @property
    def expected_usage(self) -> dict[str, int]:
        return usage_for(self.question)


@dataclass(frozen=True)
class ChatReply:
    """What the client got."""

    text: str | None
    calls: Sequence[tuple[str, str, str]]
    """(ID, function, arguments)"""
    usage: dict[str, int] | None


async def send_all(
    gateway: str, cases: Sequence[ChatCase], *, in_flight: int = 16, timeout: float = 60
) -> dict[str, ChatReply | Exception]:
    """Send `cases`, at most `in_flight` at once; return correlation ID → reply or failure."""
    slots = asyncio.Semaphore(in_flight)
    async with AsyncOpenAI(
        base_url=f"{gateway}/v1", api_key="not needed", max_retries=0, timeout=timeout
    ) as client:

        async def send(case: ChatCase) -> ChatReply:
            async with slots:
                return await send_chat(client, case)

        outcomes = await asyncio.gather(*map(send, cases), return_exceptions=True)
    replies: dict[str, ChatReply | Exception] = {}
    for case, outcome in zip(cases, outcomes, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, Exception):
            raise outcome
        replies[case.correlation_id] = outcome
    return replies


async def send_chat(client: AsyncOpenAI, case: ChatCase) -> ChatReply:
    """Send one request and read its answer to the end."""
    request: dict[str, Any] = {
        "model": case.model,
        "messages": list(case.messages),
        "extra_headers": {CORRELATION_HEADER: case.correlation_id},
    }
    if case.tools:
        request["tools"] = list(case.tools)
    if case.is_streaming:
        if case.asks_for_usage:
            request["stream_options"] = {"include_usage": True}
        return await _read_stream(await client.chat.completions.create(**request, stream=True))
    completion = await client.chat.completions.create(**request)
    message = completion.choices[0].message
    return ChatReply(
        text=message.content,
        calls=[
            (call.id, call.function.name, call.function.arguments)
            for call in message.tool_calls or ()
        ],
        usage=_figures(completion.usage),
    )


async def _read_stream(stream: Any) -> ChatReply:
    text = ""
    calls: dict[int, list[str]] = {}
    usage = None
    async for chunk in stream:
        usage = _figures(chunk.usage) or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                parts = calls.setdefault(call.index, ["", "", ""])
                parts[0] += call.id or ""
                parts[1] += call.function.name or ""
                parts[2] += call.function.arguments or ""
    return ChatReply(
        text=text or None,
        calls=[(parts[0], parts[1], parts[2]) for _, parts in sorted(calls.items())],
        usage=usage,
    )


def _figures(usage: Any) -> dict[str, int] | None:
    if usage is None:
        return None
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: getattr(usage, name) for name in names}


def function_tool(name: str) -> dict[str, Any]:
    """A tool that takes a question."""
    parameters = {"type": "object", "properties": {"question": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}
