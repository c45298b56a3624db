"""The asset `dead_letters`: what is open, and the job that replays, drops and finds letters."""

import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetSelection,
    Config,
    MaterializeResult,
    MetadataValue,
    TableRecord,
    asset,
    define_asset_job,
    in_process_executor,
)
from pydantic import Field

from assets.dead_letters.store import (
    ReplayOutcome,
    count_open_by_reason,
    drop_letters,
    replay_letters,
)
from assets.event_records.dead_letters import DeadLetter, record_dead_letters
from assets.event_records.record_assets import OWNER, record_assets
from contracts.streams import ADVISORIES, PIPELINE, TERMINATED_CONSUMER
from contracts.tables import dead_letters as dead_letters_table
from resources.batch_read import read_message
from resources.batch_settle import acknowledge
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.jetstream_client import JetStreamClient
from resources.postgres import PostgresResource

DEAD_LETTERS_JOB = "handle_dead_letters"
NO_OPEN_LETTERS = "no_open_dead_letters"
_PREVIEW_ROWS = 20


class TerminatedMessage(Config):
    """A message that somebody terminated, and the advisory that said so."""

    sequence: int = Field(ge=1)
    consumer: str
    advisory_sequence: int = Field(ge=1)


class DeadLettersConfig(Config):
    """What to do before the open letters are counted; by default nothing."""

    replay: list[int] = Field(default_factory=list, description="IDs of letters to try again.")
    drop: list[int] = Field(default_factory=list, description="IDs of letters to give up.")
    terminated: list[TerminatedMessage] = Field(
        default_factory=list, description="Messages to record as dead letters."
    )


@asset(
    deps=record_assets,
    group_name="operations",
    description=(
        "Messages that could not become rows, with the reason. A letter is open until it was"
        " replayed (`sluice dead-letters replay`) or dropped."
    ),
    kinds={"postgres", "nats"},
    owners=[OWNER],
    check_specs=[
        AssetCheckSpec(
            NO_OPEN_LETTERS,
            asset="dead_letters",
            description="Every message of the pipeline became a row in the end, or was dropped.",
        )
    ],
)
def dead_letters(
    context: AssetExecutionContext,
    config: DeadLettersConfig,
    jetstream: JetStreamResource,
    postgres: PostgresResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Record, replay and drop letters as the config says, then report what is open."""
    recorded = run_async(_record_terminated(config, jetstream, postgres))
    replayed = ReplayOutcome()
    if config.replay:
        replayed = run_async(replay_letters(postgres, config.replay))
    with postgres.begin() as connection:
        dropped = drop_letters(connection, config.drop) if config.drop else 0
        open_letters = count_open_by_reason(connection)
        preview = _preview(connection)
    open_count = sum(open_letters.values())
    context.log.info(f"{open_count} dead letters are open: {open_letters}")
    return MaterializeResult(
        metadata={
            "dagster/row_count": MetadataValue.int(open_count),
            "open": MetadataValue.int(open_count),
            "open_by_reason": MetadataValue.json(open_letters),
            "recorded": MetadataValue.int(recorded),
            "replayed": MetadataValue.int(replayed.replayed),
            "rows_written": MetadataValue.int(replayed.new_rows),
            "refused_again": MetadataValue.int(replayed.refused),
            "dropped": MetadataValue.int(dropped),
            "newest": preview,
        },
        check_results=[
            AssetCheckResult(
                check_name=NO_OPEN_LETTERS,
                passed=open_count == 0,
                severity=AssetCheckSeverity.ERROR,
                metadata={"open": open_count},
            )
        ],
    )


async def _record_terminated(
    config: DeadLettersConfig, jetstream: JetStreamResource, postgres: PostgresResource
) -> int:
    if not config.terminated:
        return 0
    async with jetstream.connect() as client:
        recorded = 0
        for each in config.terminated:
            recorded += await _record(each, client, postgres)
        await acknowledge(
            client,
            stream=ADVISORIES,
            consumer=TERMINATED_CONSUMER,
            sequences=[each.advisory_sequence for each in config.terminated],
        )
    return recorded


async def _record(
    each: TerminatedMessage, client: JetStreamClient, postgres: PostgresResource
) -> int:
    message = await read_message(client.jetstream(), stream=PIPELINE, sequence=each.sequence)
    if message is None:
        return 0
    letter = DeadLetter(message, "terminated", "the message was terminated, by no run")
    with postgres.begin() as connection:
        return record_dead_letters(connection, [letter], stream=PIPELINE, consumer=each.consumer)


def _preview(connection: sqlalchemy.Connection) -> MetadataValue:
    table = dead_letters_table
    names = ("dead_letter_id", "recorded_at", "consumer", "reason", "error")
    statement = (
        sqlalchemy.select(*(table.c[name] for name in names))
        .where(table.c.replayed_at.is_(None), table.c.dropped_at.is_(None))
        .order_by(table.c.dead_letter_id.desc())
        .limit(_PREVIEW_ROWS)
    )
    rows = connection.execute(statement).all()
    if not rows:
        return MetadataValue.text("none")
    return MetadataValue.table(
        [
            TableRecord(dict(zip(names, (str(value)[:200] for value in row), strict=True)))
            for row in rows
        ]
    )


dead_letters_job = define_asset_job(
    DEAD_LETTERS_JOB,
    selection=AssetSelection.assets(dead_letters),
    description="Replays and drops dead letters, records terminated messages, counts what is open.",
    executor_def=in_process_executor,
)
