"""Pulling a durable consumer: everything that waits, at once, and nothing acknowledged."""

import asyncio
import os
import signal
import time

import nats.errors
import psutil
import pytest

from contracts.settings import PipelineSettings
from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject
from resources.batch_pull import pull_messages
from resources.jetstream_client import JetStreamClient
from resources.pull_requests import PullRefused
from sluice.servers.nats import EmbeddedNats
from tests.support.events import publish_events, tool_call_event
from tests.support.jetstream import connected

DURABLE = "knowledge_tool_call"


async def _publish(nats_url: str, count: int) -> None:
    events = [tool_call_event(number) for number in range(count)]
    await publish_events(nats_url, PipelineSubject.TOOL_CALL, events)


async def _pull(
    client: JetStreamClient, *, limit: int = 100_000, durable: str = DURABLE
) -> list[int]:
    messages = await pull_messages(
        client, stream=PIPELINE, durable=durable, limit=limit, seconds=10
    )
    return [message.sequence for message in messages]


async def test_everything_that_waits_is_pulled_in_order_without_its_body(nats_url: str) -> None:
    await _publish(nats_url, 12_000)
    client = await connected(nats_url)

    messages = await pull_messages(
        client, stream=PIPELINE, durable=DURABLE, limit=100_000, seconds=10
    )
    info = await client.jetstream().consumer_info(PIPELINE, DURABLE)
    await client.close()

    assert [each.sequence for each in messages] == list(range(1, 12_001))
    assert not any(each.body for each in messages)
    assert (info.num_pending, info.num_ack_pending) == (0, 12_000)


@pytest.mark.parametrize("limit", [1, 7, 10])
async def test_the_limit_holds_and_the_rest_stays(nats_url: str, limit: int) -> None:
    await _publish(nats_url, 10)
    client = await connected(nats_url)

    first = await _pull(client, limit=limit)
    rest = await _pull(client)
    await client.close()

    assert first == list(range(1, limit + 1))
    assert rest == list(range(limit + 1, 11))


async def test_an_empty_consumer_answers_at_once(nats_url: str) -> None:
    client = await connected(nats_url)
    started = time.monotonic()

    assert await _pull(client) == []
    await client.close()

    assert time.monotonic() - started < 5


async def test_a_broker_that_hangs_in_the_middle_loses_nothing_of_the_pull(
    nats_server: EmbeddedNats,
) -> None:
    await _publish(nats_server.url("admin"), 3_000)
    client = await connected(nats_server.url("dagster"), inbox_prefix="_INBOX_dagster")
    (broker,) = (
        process.pid
        for process in psutil.Process().children()
        if str(nats_server.data_dir.resolve()) in " ".join(process.cmdline())
    )
    os.kill(broker, signal.SIGSTOP)
    pulling = asyncio.create_task(_pull(client))
    await asyncio.sleep(2)
    assert not pulling.done()
    os.kill(broker, signal.SIGCONT)

    assert len(await pulling) == 3_000
    await client.close()


async def test_a_missing_consumer_is_an_error(nats_url: str) -> None:
    client = await connected(nats_url)

    with pytest.raises((PullRefused, nats.errors.Error)):
        await _pull(client, durable="nobody")
    await client.close()


async def test_more_than_may_be_unacknowledged_is_not_waited_for(
    nats_url: str, pipeline_settings: PipelineSettings
) -> None:
    from sluice.streams import apply_streams

    await apply_streams(nats_url, pipeline_settings.model_copy(update={"batch_limit": 20}))
    await _publish(nats_url, 50)
    client = await connected(nats_url)

    assert len(await _pull(client)) == 20
    assert await _pull(client) == []
    await client.close()
