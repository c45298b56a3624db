"""Persists one batch of events: reads it, writes it in one transaction, then settles it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy

from assets.batch_config import EventBatchConfig
from assets.event_records.batch_trace import BatchTrace
from assets.event_records.bulk_insert import BulkInsert
from assets.event_records.dead_letters import DeadLetter, Reason, record_dead_letters
from assets.event_records.derived_rows import BulkUpsert
from assets.event_records.erased_subjects import IS_ERASED, rows_of_transaction
from assets.event_records.kinds import RecordKind
from contracts.events import Event, UndecodableEvent, UnknownSchemaVersion, decode_event
from contracts.streams import ADVISORIES, PIPELINE, PipelineConsumer
from knowledge.bulk_copy import psycopg_connection
from resources.batch_messages import StreamMessage
from resources.batch_read import read_message, read_ranges
from resources.batch_settle import acknowledge, give_back, sequences_within, terminate
from resources.jetstream import JetStreamResource
from resources.jetstream_client import JetStreamClient
from resources.postgres import PostgresResource


@dataclass
class BatchOutcome:
    """What became of a batch; counts are of messages."""

    expected: int = 0
    """As many as the consumer delivered; 0 where a person launched the run."""
    read: int = 0
    new_rows: int = 0
    duplicates: int = 0
    without_row: int = 0
    """Events that by their nature have no row here, such as a call without an answer."""
    erased: int = 0
    """Events that came again after their subject's erasure was requested."""
    dead_letters: int = 0
    derived_rows: int = 0
    """Rows of the kind's other table that were written or renewed."""
    body_bytes: int = 0
    first_event_at: datetime | None = None
    last_event_at: datetime | None = None
    settled: list[int] = field(default_factory=list)
    """Sequences to acknowledge."""
    terminated: list[int] = field(default_factory=list)
    """Sequences whose messages are dead letters."""

    @property
    def missing(self) -> int:
        """Messages that the stream no longer holds."""
        return max(0, self.expected - self.read)

    def note_event_time(self, moment: datetime) -> None:
        if self.first_event_at is None or moment < self.first_event_at:
            self.first_event_at = moment
        if self.last_event_at is None or moment > self.last_event_at:
            self.last_event_at = moment


@dataclass(frozen=True)
class _Decoded:
    message: StreamMessage
    row: tuple[Any, ...]
    derived_rows: list[tuple[Any, ...]]


@dataclass(frozen=True)
class _Writers:
    """Where a batch's rows go."""

    inserter: BulkInsert[_Decoded]
    upserter: BulkUpsert | None


async def persist_batch(
    kind: RecordKind,
    consumer: PipelineConsumer,
    batch: EventBatchConfig,
    *,
    client: JetStreamClient,
    postgres: PostgresResource,
    trace: BatchTrace | None = None,
) -> BatchOutcome:
    """Write the batch's rows and dead letters in one transaction. Nothing is settled here.

    Raises:
        sqlalchemy.exc.DBAPIError: PostgreSQL failed as a whole; nothing was written.
        nats.errors.Error: the broker failed; nothing was written.
    """
    with postgres.begin() as connection:
        letters = await _letters_of_given_up(client, batch)
        pages: AsyncIterator[Sequence[StreamMessage]] = read_ranges(
            client,
            stream=PIPELINE,
            subject=consumer.subject,
            ranges=batch.sequence_ranges,
        )
        if trace is not None:
            pages = trace.watch(pages)
        outcome, refused = await write_messages(kind, pages, connection)
        letters += refused
        outcome.expected = sum(each.count for each in batch.ranges)
        outcome.dead_letters = len(letters)
        record_dead_letters(connection, letters, stream=PIPELINE, consumer=consumer.durable_name)
    return outcome


async def write_messages(
    kind: RecordKind,
    pages: AsyncIterator[Sequence[StreamMessage]],
    connection: sqlalchemy.Connection,
) -> tuple[BatchOutcome, list[DeadLetter]]:
    """Write the messages' rows in the caller's transaction; return those that cannot be rows.

    Raises:
        sqlalchemy.exc.DBAPIError: PostgreSQL failed as a whole.
    """
    outcome = BatchOutcome()
    inserter: BulkInsert[_Decoded] = BulkInsert(
        psycopg_connection(connection),
        table=kind.table.name,
        columns=kind.columns,
        row_of=lambda decoded: decoded.row,
    )
    upserter = BulkUpsert(connection, kind.derived) if kind.derived else None
    letters = await _stage_pages(kind, pages, _Writers(inserter, upserter), outcome)
    outcome.erased = _discard_erased(inserter, outcome)
    staged = outcome.read - outcome.without_row - len(outcome.terminated) - outcome.erased
    outcome.new_rows = inserter.insert()
    outcome.duplicates = staged - outcome.new_rows
    if upserter is not None:
        outcome.derived_rows = upserter.merge()
    return outcome, letters


def _discard_erased(inserter: BulkInsert[_Decoded], outcome: BatchOutcome) -> int:
    if outcome.first_event_at is None or outcome.last_event_at is None:
        return 0
    return inserter.discard(
        IS_ERASED, among=rows_of_transaction(outcome.first_event_at, outcome.last_event_at)
    )


async def terminate_dead_letters(
    client: JetStreamClient, consumer: PipelineConsumer, outcome: BatchOutcome
) -> None:
    """Have the messages that became dead letters never delivered again."""
    await terminate(
        client,
        stream=PIPELINE,
        consumer=consumer.durable_name,
        sequences=outcome.terminated,
    )


async def acknowledge_batch(
    client: JetStreamClient,
    consumer: PipelineConsumer,
    batch: EventBatchConfig,
    sequences: Iterable[int] | None = None,
) -> None:
    """Acknowledge `sequences`, or without them all messages in the batch's ranges.

    Within its ranges a batch has read every message of its subject, and an acknowledgement
    for a message of another subject is ignored.
    """
    if sequences is None:
        sequences = sequences_within(batch.sequence_ranges)
    await acknowledge(client, stream=PIPELINE, consumer=consumer.durable_name, sequences=sequences)
    await acknowledge(
        client,
        stream=ADVISORIES,
        consumer=consumer.advisories_durable_name,
        sequences=[each.advisory_sequence for each in batch.given_up],
    )


async def give_back_batch(
    jetstream: JetStreamResource, consumer: PipelineConsumer, batch: EventBatchConfig
) -> None:
    """Have the batch delivered again at once, rather than after the ack wait."""
    async with jetstream.connect() as client:
        await give_back(
            client,
            stream=PIPELINE,
            consumer=consumer.durable_name,
            sequences=sequences_within(batch.sequence_ranges),
        )
        await give_back(
            client,
            stream=ADVISORIES,
            consumer=consumer.advisories_durable_name,
            sequences=[each.advisory_sequence for each in batch.given_up],
        )


async def _stage_pages(
    kind: RecordKind,
    pages: AsyncIterator[Sequence[StreamMessage]],
    writers: _Writers,
    outcome: BatchOutcome,
) -> list[DeadLetter]:
    """Stage one page in a thread while the broker sends the next."""
    letters: list[DeadLetter] = []
    staging: asyncio.Task[list[DeadLetter]] | None = None
    try:
        async for page in pages:
            if staging is not None:
                letters += await staging
            staging = asyncio.create_task(
                asyncio.to_thread(_stage_page, kind, page, writers, outcome)
            )
    finally:
        # The connection must be at rest before the transaction ends, however it ends.
        if staging is not None:
            await asyncio.wait([staging])
    return letters if staging is None else letters + staging.result()


def _stage_page(
    kind: RecordKind,
    page: Sequence[StreamMessage],
    writers: _Writers,
    outcome: BatchOutcome,
) -> list[DeadLetter]:
    letters: list[DeadLetter] = []
    decoded: list[_Decoded] = []
    for message in page:
        outcome.read += 1
        outcome.body_bytes += len(message.body)
        event = _decode(kind, message)
        if isinstance(event, DeadLetter):
            letters.append(event)
            continue
        outcome.note_event_time(event.occurred_at)
        row = kind.row_of(event, message.sequence)
        if row is None:
            outcome.without_row += 1
            continue
        try:
            derived_rows = kind.derived.rows_of(event) if kind.derived else []
        except ValueError as error:
            letters.append(DeadLetter(message, "constraint_violation", str(error)))
        else:
            decoded.append(_Decoded(message, row, derived_rows))
    letters += [
        DeadLetter(refusal.item.message, "constraint_violation", refusal.error)
        for refusal in writers.inserter.add(decoded)
    ]
    dead = {letter.message.sequence for letter in letters}
    if writers.upserter is not None:
        writers.upserter.stage(
            row
            for each in decoded
            if each.message.sequence not in dead
            for row in each.derived_rows
        )
    outcome.terminated += dead
    outcome.settled += [message.sequence for message in page if message.sequence not in dead]
    return letters


def _decode(kind: RecordKind, message: StreamMessage) -> Event[Any] | DeadLetter:
    try:
        return decode_event(kind.subject, message.body)
    except UndecodableEvent as error:
        reason: Reason = (
            "unknown_schema_version" if isinstance(error, UnknownSchemaVersion) else "undecodable"
        )
        return DeadLetter(message, reason, str(error))


async def _letters_of_given_up(
    client: JetStreamClient, batch: EventBatchConfig
) -> list[DeadLetter]:
    letters = []
    for each in batch.given_up:
        message = await read_message(client.jetstream(), stream=PIPELINE, sequence=each.sequence)
        if message is not None:
            letters.append(
                DeadLetter(message, "deliveries_exceeded", "every delivery's run failed")
            )
    return letters
