"""The pool of the driver's connections, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from knowledge.database_pool import DATABASE_ERRORS, DatabasePool
from tests.support.ports import free_port


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[DatabasePool]:
    pool = DatabasePool(database_url)
    yield pool
    await pool.close()


async def ask(pool: DatabasePool, query: Any) -> Any:
    async with pool.connection() as connection:
        row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return row[0]


async def test_a_connection_is_used_again(pool: DatabasePool) -> None:
    first = await ask(pool, "SELECT pg_backend_pid()")
    assert await ask(pool, "SELECT pg_backend_pid()") == first


async def test_what_is_not_committed_is_rolled_back(pool: DatabasePool) -> None:
    async with pool.connection() as connection:
        await connection.execute("CREATE TEMPORARY TABLE kept (n int)")
        await connection.commit()
        await connection.execute("INSERT INTO kept VALUES (1)")
    assert await ask(pool, "SELECT count(*) FROM kept") == 0
    with pytest.raises(psycopg.errors.DivisionByZero):
        await ask(pool, "SELECT 1 / 0")
    assert await ask(pool, "SELECT count(*) FROM kept") == 0


async def test_a_connection_that_the_server_ended_is_replaced(pool: DatabasePool) -> None:
    ended = await ask(pool, "SELECT pg_backend_pid()")
    async with pool.connection(), pool.connection() as other:
        await other.execute("SELECT pg_terminate_backend(%s, 10000)", [ended])
    assert await ask(pool, "SELECT pg_backend_pid()") != ended


async def test_a_cancelled_statement_is_over_when_the_next_one_begins(pool: DatabasePool) -> None:
    task = asyncio.create_task(ask(pool, "SELECT pg_sleep(600)"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(20):
        running = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE state = 'active' AND query = 'SELECT pg_sleep(600)'"
        )
        assert await ask(pool, "SELECT 1") == 1
        while await ask(pool, running):
            await asyncio.sleep(0.05)


async def test_an_absent_database_is_an_error() -> None:
    pool = DatabasePool(f"postgresql://x:y@127.0.0.1:{free_port()}/absent")
    with pytest.raises(DATABASE_ERRORS):
        await ask(pool, "SELECT 1")


async def test_who_reads_has_a_connection_with_the_settings(pool: DatabasePool) -> None:
    settings = (("statement_timeout", "50ms"), ("hnsw.ef_search", "77"))
    async with pool.reading(settings) as reading:
        backend = reading.info.backend_pid
        cursor = await reading.execute(
            "SELECT current_setting('statement_timeout'), current_setting('hnsw.ef_search')"
        )
        assert await cursor.fetchone() == ("50ms", "77")
        assert reading.info.transaction_status is TransactionStatus.IDLE
        with pytest.raises(psycopg.errors.QueryCanceled):
            await reading.execute("SELECT pg_sleep(600)")
    async with pool.reading(settings) as again:
        assert again.info.backend_pid == backend


async def test_settings_are_not_handed_on_to_others(pool: DatabasePool) -> None:
    async with pool.reading((("statement_timeout", "50ms"),)):
        pass
    assert await ask(pool, "SELECT current_setting('statement_timeout')") == "0"
    async with pool.reading((("statement_timeout", "70ms"),)) as other:
        cursor = await other.execute("SELECT current_setting('statement_timeout')")
        assert await cursor.fetchone() == ("70ms",)


async def test_a_refused_setting_is_an_error(pool: DatabasePool) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject):
        async with pool.reading((("no_such_setting", "1"),)):
            pass
