"""Events as the gateway would publish them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import nats

from contracts.events import Event, encode_event, new_event
from contracts.headers import CORRELATION_ID, NATS_MESSAGE_ID
from contracts.payloads import ChatPersist, TokenUsage, ToolCall
from contracts.subjects import PipelineSubject


def chat_event(number: int, *, question: str = "", answer: str | None = "") -> Event[ChatPersist]:
    """A finished chat call; `answer=None` stands for a call that failed before its first byte."""
    chat = ChatPersist(
        dialect="openai.chat",
        model="qwen3-coder:30b",
        backend="vllm",
        status="failed" if answer is None else "completed",
        messages=[{"role": "user", "content": question or f"question {number}"}],
        answer=None
        if answer is None
        else {"role": "assistant", "content": answer or f"answer {number}"},
        usage=TokenUsage(prompt_tokens=7, completion_tokens=3, total_tokens=10),
        started_at=datetime.now(UTC),
        duration_seconds=0.25,
    )
    return new_event(chat, correlation_id=f"request-{number}")


def tool_call_event(number: int) -> Event[ToolCall]:
    """A call of the tool `tokei`."""
    call = ToolCall(
        tool_call_id=f"call_{number}",
        function_name="tokei",
        arguments='{"path": "."}',
        position=0,
        model="minimax-m2.5",
        backend="vllm",
    )
    return new_event(call, correlation_id=f"request-{number}")


async def publish_events(
    nats_url: str, subject: PipelineSubject, events: Iterable[Event[Any]]
) -> None:
    """Publish `events` in order and wait for their acknowledgements."""
    connection = await nats.connect(nats_url)
    jetstream = connection.jetstream(publish_async_max_pending=1000)
    for event in events:
        await jetstream.publish_async(
            subject,
            encode_event(event),
            headers={
                NATS_MESSAGE_ID: event.event_id,
                CORRELATION_ID: event.correlation_id,
            },
        )
    await jetstream.publish_async_completed()
    await connection.close()


async def publish_bodies(nats_url: str, subject: PipelineSubject, bodies: Iterable[bytes]) -> None:
    """Publish raw bodies, such as no gateway would."""
    connection = await nats.connect(nats_url)
    for body in bodies:
        await connection.jetstream().publish(subject, body)
    await connection.close()
