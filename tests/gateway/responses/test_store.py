"""Stored responses in a real database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from contracts.settings import ResponsesSettings
from gateway.metrics import GatewayMetrics
from gateway.responses.errors import (
    ConversationTooLong,
    ItemNotFound,
    PreviousResponseFailed,
    PreviousResponseNotFound,
    ReferencesTooLarge,
    ResponseNotFound,
    StoreUnavailable,
)
from gateway.responses.retention import ResponseRetention
from gateway.responses.store import NewResponse, ResponseStore, StoredConversation
from knowledge.database_pool import DatabasePool
from tests.gateway.conftest import UNREACHABLE_DATABASE

KEY = "reader"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[DatabasePool]:
    database = DatabasePool(database_url)
    yield database
    await database.close()


@pytest.fixture
def store(database: DatabasePool) -> ResponseStore:
    return ResponseStore(database, ResponsesSettings())


def message(item_id: str, content: str, role: str = "user") -> dict[str, Any]:
    return {"id": item_id, "type": "message", "role": role, "content": content}


def new_response(
    number: int,
    *,
    key: str = KEY,
    previous: int | None = None,
    said: str = "yes",
    status: str = "completed",
    continued: StoredConversation | None = None,
) -> NewResponse:
    output = [message(f"msg_out{number}", said, "assistant")]
    return NewResponse(
        response_id=f"resp_{number}",
        api_key_name=key,
        model="tiny",
        status=status,
        input_items=[message(f"msg_in{number}", f"question {number}")],
        response=msgspec.json.encode({"id": f"resp_{number}", "output": output}),
        output_ids=[f"msg_out{number}"],
        previous_response_id=None if previous is None else f"resp_{previous}",
        continued=continued,
    )


async def count(database: DatabasePool) -> int:
    async with database.connection() as connection:
        found = await connection.execute("SELECT count(*) FROM api_responses")
        row = await found.fetchone()
        assert row is not None
        return int(row[0])


async def test_what_is_stored_is_read_back_byte_for_byte(store: ResponseStore) -> None:
    document = b'{"id":"resp_1", "output":[],  "text":"\\u0000 and \xc3\xa9"}'
    new = new_response(1)
    await store.save(
        NewResponse(
            response_id="resp_1",
            api_key_name=KEY,
            model="tiny",
            status="completed",
            input_items=new.input_items,
            response=document,
            output_ids=[],
        )
    )
    assert await store.get(KEY, "resp_1") == document
    assert await store.input_items(KEY, "resp_1") == new.input_items


async def test_conversation_is_every_turn_in_order(store: ResponseStore) -> None:
    await store.save(new_response(1, said="a NUL: \0"))
    await store.save(new_response(2, previous=1))
    await store.save(new_response(3, previous=2))
    await store.save(new_response(4, previous=1))
    conversation = await store.load_conversation(KEY, "resp_3")
    assert [item["id"] for item in conversation.items] == [
        "msg_in1", "msg_out1", "msg_in2", "msg_out2", "msg_in3", "msg_out3",
    ]  # fmt: skip
    assert conversation.items[1]["content"] == "a NUL: \0"
    with pytest.raises(PreviousResponseNotFound):
        await store.load_conversation(KEY, "resp_\0")
    branch = await store.load_conversation(KEY, "resp_4")
    assert [item["id"] for item in branch.items] == [
        "msg_in1", "msg_out1", "msg_in4", "msg_out4",
    ]  # fmt: skip


async def test_behaviour_14_a_foreign_response_does_not_exist(store: ResponseStore) -> None:
    await store.save(new_response(1))
    await store.save(new_response(2, key="other", previous=1))
    for call in (store.get, store.input_items, store.delete):
        with pytest.raises(ResponseNotFound):
            await call("other", "resp_1")
        with pytest.raises(ResponseNotFound):
            await call("", "resp_1")
    with pytest.raises(PreviousResponseNotFound):
        await store.load_conversation("other", "resp_1")
    with pytest.raises(PreviousResponseNotFound, match="resp_1"):
        await store.load_conversation("other", "resp_2")
    with pytest.raises(ItemNotFound):
        await store.find_items("other", ["msg_out1"])


async def test_a_deleted_turn_ends_the_conversations_that_came_by_it(
    store: ResponseStore,
) -> None:
    await store.save(new_response(1))
    await store.save(new_response(2, previous=1))
    await store.delete(KEY, "resp_1")
    with pytest.raises(ResponseNotFound):
        await store.get(KEY, "resp_1")
    with pytest.raises(ResponseNotFound):
        await store.delete(KEY, "resp_1")
    with pytest.raises(PreviousResponseNotFound, match="resp_1"):
        await store.load_conversation(KEY, "resp_2")


async def test_a_failed_response_cannot_be_continued(store: ResponseStore) -> None:
    await store.save(new_response(1, status="failed"))
    with pytest.raises(PreviousResponseFailed):
        await store.load_conversation(KEY, "resp_1")


async def test_behaviour_14_a_conversation_is_bounded_in_turns_and_bytes(
    database: DatabasePool,
) -> None:
    unbounded = ResponseStore(database, ResponsesSettings())
    for number in range(1, 5):
        await unbounded.save(new_response(number, previous=number - 1 or None))
    three_turns = ResponseStore(database, ResponsesSettings(max_turns=3))
    assert len((await three_turns.load_conversation(KEY, "resp_3")).items) == 6
    with pytest.raises(ConversationTooLong):
        await three_turns.load_conversation(KEY, "resp_4")
    small = ResponseStore(database, ResponsesSettings(max_conversation_bytes=1024))
    await unbounded.save(new_response(5, said="x" * 600))
    await unbounded.save(new_response(6, previous=5, said="x" * 600))
    await small.load_conversation(KEY, "resp_5")
    with pytest.raises(ConversationTooLong):
        await small.load_conversation(KEY, "resp_6")
    assert await small.find_items(KEY, ["msg_out5"])
    with pytest.raises(ReferencesTooLarge):
        await small.find_items(KEY, ["msg_out5", "msg_out6"])


async def test_items_are_found_by_their_ids(store: ResponseStore) -> None:
    await store.save(new_response(1, said="yes, \0"))
    await store.save(new_response(2))
    found = await store.find_items(KEY, ["msg_out2", "msg_in1", "msg_out2"])
    assert found["msg_out2"]["content"] == "yes"
    assert found["msg_in1"]["content"] == "question 1"
    with pytest.raises(ItemNotFound):
        await store.find_items(KEY, ["msg_\0"])
    with pytest.raises(ItemNotFound, match="msg_9"):
        await store.find_items(KEY, ["msg_in1", "msg_9"])


async def test_going_on_keeps_the_turns_before(database: DatabasePool) -> None:
    store = ResponseStore(database, ResponsesSettings(max_age_seconds=100))
    await store.save(new_response(1))
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE api_responses SET expires_at = expires_at - interval '50 seconds'"
        )
        await connection.commit()
    conversation = await store.load_conversation(KEY, "resp_1")
    await store.save(new_response(2, previous=1, continued=conversation))
    async with database.connection() as connection:
        left = await connection.execute(
            "SELECT extract(epoch FROM expires_at - now()) FROM api_responses"
        )
        assert all(row[0] > 90 for row in await left.fetchall())


async def test_expired_responses_are_gone_at_once_and_purged_later(
    database: DatabasePool, store: ResponseStore
) -> None:
    await store.save(new_response(1))
    await store.save(new_response(2, previous=1))
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE api_responses SET expires_at = now() WHERE response_id = 'resp_1'"
        )
        await connection.commit()
    with pytest.raises(ResponseNotFound):
        await store.get(KEY, "resp_1")
    with pytest.raises(PreviousResponseNotFound):
        await store.load_conversation(KEY, "resp_2")
    metrics = GatewayMetrics()
    retention = ResponseRetention(database, store, ResponsesSettings(), metrics)
    assert await retention.purge([]) == 1
    assert await count(database) == 1
    purged = metrics.registry.get_sample_value(
        "sluice_gateway_purged_responses_total", {"reason": "expired"}
    )
    assert purged == 1


@pytest.mark.parametrize(("limits", "kept"), [({"max_responses": 3}, 3), ({"max_bytes": 1500}, 2)])
async def test_behaviour_14_a_key_keeps_its_latest_responses_only(
    database: DatabasePool, store: ResponseStore, limits: dict[str, int], kept: int
) -> None:
    for number in range(1, 7):
        await store.save(new_response(number, said="x" * 600))
    await store.save(new_response(7, key="other"))
    settings = ResponsesSettings(**limits)
    retention = ResponseRetention(database, store, settings, GatewayMetrics())
    assert await retention.purge(["other"]) == 0
    assert await retention.purge(store.take_written_keys()) == 6 - kept
    assert await count(database) == kept + 1
    await store.get(KEY, "resp_6")
    with pytest.raises(ResponseNotFound):
        await store.get(KEY, "resp_1")


async def test_retention_runs_by_itself(database: DatabasePool, store: ResponseStore) -> None:
    settings = ResponsesSettings(max_responses=1, purge_interval_seconds=0.05)
    retention = ResponseRetention(database, store, settings, GatewayMetrics())
    retention.start()
    try:
        for number in range(1, 4):
            await store.save(new_response(number))
        async with asyncio.timeout(20):
            while await count(database) > 1:
                await asyncio.sleep(0.02)
    finally:
        await retention.stop()


async def test_without_a_database_every_call_says_so() -> None:
    database = DatabasePool(UNREACHABLE_DATABASE)
    store = ResponseStore(database, ResponsesSettings())
    for call in (
        store.require_available(),
        store.save(new_response(1)),
        store.get(KEY, "resp_1"),
        store.load_conversation(KEY, "resp_1"),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await database.close()
