"""The main job as a load: 200 chat calls, some documents, and all that follows from them."""

import asyncio
from dataclasses import dataclass
from uuid import uuid4

from contracts.events import new_event
from contracts.payloads import EmbeddingRequest
from contracts.subjects import PipelineSubject
from tests.e2e.chat_load import ChatCase, ChatReply, function_tool, send_all
from tests.support.broker import unsettled
from tests.support.database import count_by_correlation
from tests.support.events import publish_events
from tests.support.stack import PlatformStack, wait_until

CALL_COUNT = 200
REPEATED_COUNT = 10
"""Calls that are equal to an earlier one, answer included."""
_PERSISTED_SECONDS = 300


@dataclass(frozen=True)
class MainJob:
    """The calls that were made, and their answers."""

    platform: PlatformStack
    cases: dict[str, ChatCase]
    replies: dict[str, ChatReply | Exception]

    @property
    def correlation_ids(self) -> list[str]:
        return list(self.cases)

    @property
    def tool_call_count(self) -> int:
        return sum(len(case.tools) for case in self.cases.values())


def chat_cases() -> list[ChatCase]:
    """Streaming and not, with one tool, two or none, one turn or several, some repeated."""
    prefix = uuid4().hex[:12]
    return [_chat_case(prefix, number) for number in range(CALL_COUNT)]


def _chat_case(prefix: str, number: int) -> ChatCase:
    is_repeated = number >= CALL_COUNT - REPEATED_COUNT
    content = number - 20 if is_repeated else number
    question = f"Question {content} of {prefix}: what opens the spillway gate?"
    if content % 3:
        question = f"Question {content} of {prefix}, please: ünïcode 模型 \U0001f30a?"
    messages = [{"role": "user", "content": question}]
    if content % 7 == 0:
        messages = [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hello, how can I help?"},
            *messages,
        ]
    tools = []
    if content % 5 == 0:
        tools = [function_tool("measure_level")]
    if content % 10 == 0:
        tools.append(function_tool("open_gate"))
    return ChatCase(
        correlation_id=f"main-job-{prefix}-{number}",
        messages=messages,
        is_streaming=content % 2 == 1 or content % 20 == 0,
        tools=tools,
        asks_for_usage=content % 4 == 1,
    )


def do_main_job(platform: PlatformStack) -> MainJob:
    """Send the calls and wait until every batch that came of them is settled."""
    endpoints = platform.endpoints
    cases = {case.correlation_id: case for case in chat_cases()}
    replies = asyncio.run(send_all(endpoints["gateway"], list(cases.values())))
    # No encoder runs yet, so that these three events stand for its calls.
    embeddings = [
        new_event(
            EmbeddingRequest(
                model="all-MiniLM-L6-v2",
                kind="query",
                input_count=number,
                dimensions=384,
                duration_seconds=0.003,
            ),
            correlation_id=f"embedding-{number}",
        )
        for number in (1, 2, 3)
    ]
    asyncio.run(publish_events(endpoints["nats"], PipelineSubject.EMBEDDING, embeddings))

    def is_persisted() -> bool:
        found = count_by_correlation(endpoints["postgres"], "chat_history", list(cases))
        return len(found) >= CALL_COUNT and not unsettled(endpoints["nats"])

    wait_until(is_persisted, seconds=_PERSISTED_SECONDS, interval=2, what="all calls persisted")
    return MainJob(platform, cases, replies)
