"""The sensor that finds terminated messages, and has the open dead letters counted anew."""

from collections.abc import Iterator, Sequence

import msgspec
import sqlalchemy
from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)
from nats.errors import Error as NatsError
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from assets.dead_letters.asset import DEAD_LETTERS_JOB, TerminatedMessage, dead_letters_job
from assets.dead_letters.store import count_open_by_reason
from contracts.settings import load_settings
from contracts.streams import ADVISORIES, PIPELINE, TERMINATED_CONSUMER
from contracts.tables import dead_letters
from resources.batch_pull import pull_messages
from resources.batch_settle import acknowledge
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.postgres import PostgresResource

_TICK_SECONDS = 30
_MOST_MESSAGES = 1000


class _TerminatedAdvisory(msgspec.Struct):
    """`io.nats.jetstream.advisory.v1.terminated`, as far as it is needed."""

    consumer: str
    stream_seq: int


@sensor(
    name="dead_letters_watch",
    job=dead_letters_job,
    minimum_interval_seconds=_TICK_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Finds terminated messages, and follows how many dead letters are open.",
)
def dead_letters_watch(
    context: SensorEvaluationContext, jetstream: JetStreamResource, postgres: PostgresResource
) -> Iterator[RunRequest | SkipReason]:
    """Request a run where a terminated message has no letter, or the open letters have changed."""
    try:
        key, terminated = run_async(_find_terminated(jetstream, postgres))
        with postgres.begin() as connection:
            open_letters = count_open_by_reason(connection)
    except (NatsError, OSError, OperationalError) as error:
        yield SkipReason(f"the broker or the database failed: {error!r}")
        return
    state = msgspec.json.encode(sorted(open_letters.items())).decode()
    if not terminated and state == (context.cursor or "[]"):
        yield SkipReason(f"{sum(open_letters.values())} dead letters are open, as before")
        return
    context.update_cursor(state)
    yield RunRequest(
        job_name=DEAD_LETTERS_JOB,
        run_key=f"{key}:{state}" if terminated else None,
        run_config={
            "ops": {
                "dead_letters": {
                    "config": {"terminated": [each.model_dump() for each in terminated]}
                }
            }
        },
    )


async def _find_terminated(
    jetstream: JetStreamResource, postgres: PostgresResource
) -> tuple[str, Sequence[TerminatedMessage]]:
    """Return the terminated messages without a letter, and a name for this delivery.

    A run records its letters before it terminates their messages: such an advisory says nothing
    new, and is acknowledged here. The others are acknowledged by the run that records them.
    """
    async with jetstream.connect() as client:
        info = await client.jetstream().consumer_info(ADVISORIES, TERMINATED_CONSUMER)
        if not info.num_pending and not info.num_ack_pending:
            return "", []
        messages = await pull_messages(
            client,
            stream=ADVISORIES,
            durable=TERMINATED_CONSUMER,
            limit=_MOST_MESSAGES,
            seconds=load_settings().pipeline.pull_seconds,
        )
        found = []
        for message in messages:
            advisory = msgspec.json.decode(message.body, type=_TerminatedAdvisory)
            found.append(
                TerminatedMessage(
                    sequence=advisory.stream_seq,
                    consumer=advisory.consumer,
                    advisory_sequence=message.sequence,
                )
            )
        with postgres.begin() as connection:
            recorded = _recorded(connection, found)
        known = [each for each in found if (each.consumer, each.sequence) in recorded]
        await acknowledge(
            client,
            stream=ADVISORIES,
            consumer=TERMINATED_CONSUMER,
            sequences=[each.advisory_sequence for each in known],
        )
    newest = max((each.consumer_sequence for each in messages), default=0)
    return f"{info.created}:{newest}", [each for each in found if each not in known]


def _recorded(
    connection: sqlalchemy.Connection, messages: Sequence[TerminatedMessage]
) -> set[tuple[str, int]]:
    statement = select(dead_letters.c.consumer, dead_letters.c.stream_sequence).where(
        dead_letters.c.stream == PIPELINE,
        dead_letters.c.stream_sequence.in_([each.sequence for each in messages]),
    )
    return {(consumer, sequence) for consumer, sequence in connection.execute(statement)}
