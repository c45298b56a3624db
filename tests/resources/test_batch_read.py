"""Reading a batch again by its sequences, on a real nats-server."""

from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject
from resources.batch_messages import SequenceRange, StreamMessage
from resources.batch_read import read_message, read_ranges
from tests.support.events import chat_event, publish_events, tool_call_event
from tests.support.jetstream import connected


async def _read(nats_url: str, *ranges: SequenceRange) -> list[StreamMessage]:
    connection = await connected(nats_url)
    pages = [
        page
        async for page in read_ranges(
            connection,
            stream=PIPELINE,
            subject=PipelineSubject.TOOL_CALL,
            ranges=ranges,
        )
    ]
    await connection.close()
    return [message for page in pages for message in page]


async def _publish_alternating(nats_url: str, count: int) -> None:
    """Odd sequences are tool calls, even ones chats."""
    for number in range(count):
        await publish_events(nats_url, PipelineSubject.TOOL_CALL, [tool_call_event(number)])
        await publish_events(nats_url, PipelineSubject.CHAT_PERSIST, [chat_event(number)])


async def test_only_the_subject_and_the_ranges_are_read(nats_url: str) -> None:
    await _publish_alternating(nats_url, 6)

    messages = await _read(nats_url, SequenceRange(1, 4, 2), SequenceRange(9, 10, 1))

    assert [message.sequence for message in messages] == [1, 3, 9]
    assert {message.subject for message in messages} == {PipelineSubject.TOOL_CALL}


async def test_more_than_a_page_is_read_in_order(nats_url: str) -> None:
    events = [tool_call_event(number) for number in range(4500)]
    await publish_events(nats_url, PipelineSubject.TOOL_CALL, events)

    messages = await _read(nats_url, SequenceRange(1, 4400, 4400))

    assert [message.sequence for message in messages] == list(range(1, 4401))


async def test_messages_that_are_gone_are_left_out(nats_url: str) -> None:
    await _publish_alternating(nats_url, 4)
    connection = await connected(nats_url)
    await connection.jetstream().delete_msg(PIPELINE, 3)
    gone = await read_message(connection.jetstream(), stream=PIPELINE, sequence=3)
    kept = await read_message(connection.jetstream(), stream=PIPELINE, sequence=5)
    await connection.close()

    messages = await _read(nats_url, SequenceRange(1, 8, 4))

    assert [message.sequence for message in messages] == [1, 5, 7]
    assert gone is None
    assert kept is not None
    assert (kept.sequence, kept.body) == (5, messages[1].body)


async def test_a_range_beyond_the_stream_is_empty(nats_url: str) -> None:
    assert await _read(nats_url, SequenceRange(100, 200, 5)) == []
