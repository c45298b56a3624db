"""The floor below the drain: pull with bodies, decode, COPY, in one loop without Dagster.

It neither acknowledges nor looks for duplicates, and its table has no indexes.
"""

import time
from dataclasses import dataclass

import nats
import psycopg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from psycopg import sql

from assets.event_records.kinds import CHAT_HISTORY
from benchmarks.figures import require
from contracts.events import decode_event
from contracts.streams import PIPELINE
from contracts.subjects import PipelineSubject

_SUBJECT = PipelineSubject.CHAT_PERSIST
_BODIES_PER_FETCH = 2_000
_HEADERS_PER_FETCH = 10_000
_FETCH_SECONDS = 10.0


@dataclass(frozen=True)
class DrainFloor:
    """Seconds that the bare work on all messages takes."""

    copy_seconds: float
    """Pull with bodies, decode, COPY, commit."""
    headers_seconds: float
    """Pull of the headers alone."""


async def measure_drain_floor(
    nats_url: str, database_url: str, count: int, *, with_headers: bool = True
) -> DrainFloor:
    """Do the bare work on the `count` messages of the chat subject.

    Args:
        with_headers: whether the headers are pulled as well, for `headers_seconds`.

    Raises:
        InvariantBroken: the stream did not give all of them.
    """
    client = await nats.connect(nats_url)
    try:
        jetstream = client.jetstream()
        copy_seconds = await _copy_all(jetstream, database_url, count)
        headers_seconds = await _pull_headers(jetstream, count) if with_headers else 0.0
    finally:
        await client.close()
    return DrainFloor(copy_seconds, headers_seconds)


async def _copy_all(jetstream: JetStreamContext, database_url: str, count: int) -> float:
    columns = sql.SQL(", ").join(map(sql.Identifier, CHAT_HISTORY.columns))
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TEMP TABLE bare (LIKE chat_history INCLUDING DEFAULTS)")
        connection.commit()
        started = time.perf_counter()
        subscription = await _subscribe(jetstream, is_headers_only=False)
        copied = 0
        with (
            connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY bare ({}) FROM STDIN").format(columns)) as copy,
        ):
            while copied < count:
                wanted = min(_BODIES_PER_FETCH, count - copied)
                for message in await subscription.fetch(wanted, timeout=_FETCH_SECONDS):
                    event = decode_event(_SUBJECT, message.data)
                    sequence = message.metadata.sequence.stream
                    row = CHAT_HISTORY.row_of(event, sequence)
                    require(row is not None, f"message {sequence} makes no row")
                    copy.write_row(row or ())
                    copied += 1
        connection.commit()
        seconds = time.perf_counter() - started
        await subscription.unsubscribe()
        (row_count,) = connection.execute("SELECT count(*) FROM bare").fetchone() or (0,)
    require(row_count == count, f"the floor wrote {row_count} of {count} rows")
    return seconds


async def _pull_headers(jetstream: JetStreamContext, count: int) -> float:
    started = time.perf_counter()
    subscription = await _subscribe(jetstream, is_headers_only=True)
    pulled = 0
    while pulled < count:
        wanted = min(_HEADERS_PER_FETCH, count - pulled)
        pulled += len(await subscription.fetch(wanted, timeout=_FETCH_SECONDS))
    seconds = time.perf_counter() - started
    await subscription.unsubscribe()
    return seconds


async def _subscribe(
    jetstream: JetStreamContext, *, is_headers_only: bool
) -> JetStreamContext.PullSubscription:
    return await jetstream.pull_subscribe(
        _SUBJECT,
        stream=PIPELINE,
        config=ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            headers_only=is_headers_only,
            mem_storage=True,
            inactive_threshold=30.0,
        ),
    )
