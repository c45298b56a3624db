"""Unexpected exceptions, before and after the response has begun."""

import aiohttp
import pytest

from gateway.chat.call import ChatCall
from gateway.openai.accumulator import AnswerAccumulator
from gateway.openai.sse import SseEvent
from tests.gateway.conftest import chat_body
from tests.gateway.running_gateway import RunningGateway
from tests.gateway.scripted_upstream import STREAM, ScriptedUpstream, stream_script

CHAT = "/v1/chat/completions"


def fail(*_arguments: object, **_options: object) -> None:
    raise ZeroDivisionError("a defect")


async def test_before_the_response_it_is_a_500_with_the_correlation_id(
    gateway: RunningGateway,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ChatCall, "_response_headers", fail)
    headers = {"X-Correlation-ID": "defect-1"}
    async with client.post(gateway.url + CHAT, json=chat_body(), headers=headers) as response:
        assert response.status == 500
        assert response.headers["X-Correlation-ID"] == "defect-1"
        error = (await response.json())["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "server_error",
        "internal_error",
        None,
    )
    assert "defect-1" in error["message"]
    assert "a defect" not in error["message"]


async def test_in_mid_stream_it_is_an_error_event(
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    client: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.script = stream_script(STREAM, pause=0.02)
    good_add = AnswerAccumulator.add
    seen = 0

    def add(self: AnswerAccumulator, event: SseEvent) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            fail()
        good_add(self, event)

    monkeypatch.setattr(AnswerAccumulator, "add", add)
    async with client.post(gateway.url + CHAT, json=chat_body(stream=True)) as response:
        assert response.status == 200
        received = await response.read()
    assert received.startswith(b"".join(STREAM[:2]))
    assert b'"code":"internal_error"' in received
    assert b"[DONE]" not in received
