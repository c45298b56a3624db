"""The table `dead_letters` after the letters are in it: which are open, and their end."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy
from sqlalchemy import func, select, update

from assets.event_records.dead_letters import storable
from assets.event_records.kinds import RECORD_KINDS
from assets.event_records.persist import write_messages
from contracts.streams import PIPELINE_CONSUMERS
from contracts.tables import dead_letters
from resources.batch_messages import StoredMessage, StreamMessage
from resources.postgres import PostgresResource

_KINDS_BY_CONSUMER = {
    consumer.durable_name: kind
    for consumer in PIPELINE_CONSUMERS
    for kind in RECORD_KINDS
    if kind.job_name == consumer.job_name
}
_IS_OPEN = sqlalchemy.and_(
    dead_letters.c.replayed_at.is_(None), dead_letters.c.dropped_at.is_(None)
)


@dataclass(frozen=True)
class ReplayOutcome:
    """Counts of letters."""

    replayed: int = 0
    new_rows: int = 0
    """The others were there already, or have no row by their nature."""
    refused: int = 0
    """As before, or for another reason now; they stay open."""

    def __add__(self, other: "ReplayOutcome") -> "ReplayOutcome":
        return ReplayOutcome(
            self.replayed + other.replayed,
            self.new_rows + other.new_rows,
            self.refused + other.refused,
        )


def count_open_by_reason(connection: sqlalchemy.Connection) -> dict[str, int]:
    """Return reason → number of open letters."""
    statement = (
        select(dead_letters.c.reason, func.count().label("letters"))
        .where(_IS_OPEN)
        .group_by(dead_letters.c.reason)
    )
    return {row.reason: row.letters for row in connection.execute(statement)}


def drop_letters(connection: sqlalchemy.Connection, letter_ids: Sequence[int]) -> int:
    """Mark the open ones of `letter_ids` as dropped; return how many. Their bodies stay."""
    result = connection.execute(
        update(dead_letters)
        .where(_IS_OPEN, dead_letters.c.dead_letter_id.in_(letter_ids))
        .values(dropped_at=func.now())
    )
    return result.rowcount


async def replay_letters(postgres: PostgresResource, letter_ids: Sequence[int]) -> ReplayOutcome:
    """Try again to make rows of the open ones of `letter_ids`, a transaction per consumer.

    The bodies are the table's own, so that it does not matter what the stream still holds.

    Raises:
        sqlalchemy.exc.DBAPIError: PostgreSQL failed as a whole.
    """
    outcome = ReplayOutcome()
    with postgres.begin() as connection:
        consumers = connection.scalars(
            select(dead_letters.c.consumer)
            .where(_IS_OPEN, dead_letters.c.dead_letter_id.in_(letter_ids))
            .distinct()
        ).all()
    for consumer in consumers:
        with postgres.begin() as connection:
            outcome += await _replay_of_consumer(connection, consumer, letter_ids)
    return outcome


async def _replay_of_consumer(
    connection: sqlalchemy.Connection, consumer: str, letter_ids: Sequence[int]
) -> ReplayOutcome:
    kind = _KINDS_BY_CONSUMER.get(consumer)
    if kind is None:
        return ReplayOutcome(refused=len(letter_ids))
    rows = connection.execute(
        select(dead_letters)
        .where(
            _IS_OPEN,
            dead_letters.c.consumer == consumer,
            dead_letters.c.dead_letter_id.in_(letter_ids),
        )
        .order_by(dead_letters.c.dead_letter_id)
        .with_for_update()
    ).all()
    letter_ids_by_message: dict[tuple[int, datetime], int] = {
        (row.stream_sequence, row.published_at): row.dead_letter_id for row in rows
    }
    messages = [
        StoredMessage(
            subject=row.subject,
            sequence=row.stream_sequence,
            published_at=row.published_at,
            headers=row.headers,
            body=row.body,
        )
        for row in rows
    ]
    outcome, refused = await write_messages(kind, _one_page(messages), connection)
    for letter in refused:
        message = letter.message
        letter_id = letter_ids_by_message.pop((message.sequence, message.published_at))
        connection.execute(
            update(dead_letters)
            .where(dead_letters.c.dead_letter_id == letter_id)
            .values(reason=letter.reason, error=storable(letter.error))
        )
    connection.execute(
        update(dead_letters)
        .where(dead_letters.c.dead_letter_id.in_(letter_ids_by_message.values()))
        .values(replayed_at=func.now())
    )
    return ReplayOutcome(len(rows) - len(refused), outcome.new_rows, len(refused))


async def _one_page(messages: Sequence[StreamMessage]) -> AsyncIterator[Sequence[StreamMessage]]:
    yield messages
