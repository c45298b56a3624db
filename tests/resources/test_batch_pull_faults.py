"""Pulls that time out while their messages are on the way."""

from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject
from resources.batch_pull import pull_messages
from tests.support.events import chat_event, publish_events

DURABLE = "knowledge_chat_persist"


class LateFetch:
    """A double of `fetch`: the first call asks the broker, then times out without its messages."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self._late: list[Msg] = []
        self._fetch = JetStreamContext.PullSubscription.fetch
        self.calls = 0

    async def __call__(
        self, subscription: JetStreamContext.PullSubscription, *arguments: Any, **options: Any
    ) -> list[Msg]:
        self.calls += 1
        if self.calls == 1:
            self._late = await self._fetch(subscription, *arguments, **options)
            raise self._error
        if self._late:
            late, self._late = self._late, []
            return late
        return await self._fetch(subscription, *arguments, **options)


@pytest.mark.parametrize("error", [TimeoutError, nats.errors.TimeoutError])
async def test_what_arrives_after_the_timeout_is_pulled_all_the_same(
    nats_url: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    await publish_events(nats_url, PipelineSubject.CHAT_PERSIST, map(chat_event, range(3)))
    late_fetch = LateFetch(error)

    async def fetch(
        subscription: JetStreamContext.PullSubscription, *arguments: Any, **options: Any
    ) -> list[Msg]:
        return await late_fetch(subscription, *arguments, **options)

    monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", fetch)
    client = await nats.connect(nats_url)
    pulled = await pull_messages(
        client.jetstream(), stream=PIPELINE, durable=DURABLE, limit=100, seconds=5
    )
    await client.close()
    assert len(pulled) == 3
    assert late_fetch.calls > 1
