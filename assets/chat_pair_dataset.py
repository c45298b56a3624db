"""The chat pairs as files that a fine-tuning tool reads, a folder per day."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetCheckSpec,
    AssetExecutionContext,
    DailyPartitionsDefinition,
    MaterializeResult,
    MetadataValue,
    asset,
)
from sqlalchemy import func, select

from assets.batch_config import EventBatchConfig
from assets.chat_pair_files import remove_hourly_files, write_pair_files, written_minutes
from assets.event_records.kinds import CHAT_PAIR
from assets.event_records.persist import acknowledge_batch, give_back_batch
from contracts.settings import load_settings
from contracts.streams import consumer_of_job
from contracts.tables import chat_pairs
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.postgres import PostgresResource

daily = DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)
"""`end_offset`: the running day has a partition too, written as its pairs come in."""


@dataclass(frozen=True)
class _Day:
    start: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=1)


@asset(
    partitions_def=daily,
    deps=[CHAT_PAIR.asset_name],
    group_name="training",
    description=(
        "Prompt and response pairs as chat `messages`, JSONL and Parquet, a folder per day and hour"
        " and a file per minute, which is what a batch writes anew: its cost does not grow with"
        " the day. Answered calls only; of equal conversations the first."
    ),
    kinds={"parquet", "json"},
    owners=["team:data-platform"],
    check_specs=[
        AssetCheckSpec(
            "no_equal_pairs",
            asset="chat_pair_dataset",
            description="No conversation was written twice.",
        )
    ],
)
def chat_pair_dataset(
    context: AssetExecutionContext,
    config: EventBatchConfig,
    jetstream: JetStreamResource,
    postgres: PostgresResource,
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    """Write the day's files from `chat_pairs`: the batch's minutes, or all where there is no batch.

    In the job that also writes `chat_pair_record` this is the last step, so it acknowledges.
    """
    consumer = consumer_of_job(CHAT_PAIR.job_name)
    try:
        result = _write_day(context.partition_key, config, postgres)
        if not config.is_empty:
            run_async(_acknowledge(jetstream, config))
    except Exception:
        context.log.exception("the dataset could not be written; its batch is given back")
        if not config.is_empty:
            run_async(give_back_batch(jetstream, consumer, config))
        raise
    return result


async def _acknowledge(jetstream: JetStreamResource, batch: EventBatchConfig) -> None:
    async with jetstream.connect() as client:
        await acknowledge_batch(client, consumer_of_job(CHAT_PAIR.job_name), batch)


def _write_day(
    partition_key: str, batch: EventBatchConfig, postgres: PostgresResource
) -> MaterializeResult:  # type: ignore[type-arg]  # Dagster reads the bare name
    day = _Day(datetime.fromisoformat(partition_key).replace(tzinfo=UTC))
    folder = (load_settings().dataset_dir / "chat_pairs" / f"day={partition_key}").absolute()
    is_whole_day = remove_hourly_files(folder) or not batch.ranges
    written: list[bytes] = []
    usable = 0
    with postgres.begin() as connection:
        minutes = _minutes_of(connection, day, None if is_whole_day else batch)
        if is_whole_day:
            minutes = sorted({*minutes, *written_minutes(folder, day.start)})
        for minute in minutes:
            end = minute + timedelta(minutes=1)
            written += write_pair_files(folder, minute, _pairs(connection, minute, end))
            usable += _count_usable(connection, minute, end)
    equal = len(written) - len(set(written))
    return MaterializeResult(
        metadata={
            "path": MetadataValue.path(folder),
            "minutes_written": MetadataValue.text(_described(minutes)),
            "pairs_written": MetadataValue.int(len(written)),
            "equal_pairs_left_out": MetadataValue.int(usable - len(written)),
            "jsonl_bytes": MetadataValue.int(sum(map(len, written))),
            "newest_pair": MetadataValue.json(json.loads(written[-1]) if written else {}),
        },
        check_results=[
            AssetCheckResult(
                check_name="no_equal_pairs",
                passed=equal == 0,
                metadata={"pairs_written": len(written), "equal": equal},
            )
        ],
    )


def _described(minutes: Sequence[datetime]) -> str:
    if not minutes:
        return "none"
    return f"{len(minutes)}, {minutes[0]:%H:%M} to {minutes[-1]:%H:%M}"


def rewrite_day(partition_key: str, postgres: PostgresResource) -> None:
    """Write all files of a day anew from `chat_pairs`."""
    _write_day(partition_key, EventBatchConfig(), postgres)


def _within(start: datetime, end: datetime) -> sqlalchemy.ColumnElement[bool]:
    return sqlalchemy.and_(chat_pairs.c.occurred_at >= start, chat_pairs.c.occurred_at < end)


def _is_usable() -> sqlalchemy.ColumnElement[bool]:
    return sqlalchemy.and_(chat_pairs.c.is_complete, chat_pairs.c.response != "")


def _minutes_of(
    connection: sqlalchemy.Connection, day: _Day, batch: EventBatchConfig | None
) -> list[datetime]:
    """Return the minutes of `day` with usable pairs, or those with pairs of `batch`."""
    sequence = chat_pairs.c.stream_sequence
    chosen = (
        _is_usable()
        if batch is None
        else sqlalchemy.or_(*(sequence.between(each.first, each.last) for each in batch.ranges))
    )
    minute = func.date_trunc("minute", chat_pairs.c.occurred_at, "UTC")
    statement = select(minute).where(_within(day.start, day.end), chosen).distinct()
    return sorted(moment.astimezone(UTC) for moment in connection.scalars(statement))


def _count_usable(connection: sqlalchemy.Connection, start: datetime, end: datetime) -> int:
    statement = select(func.count()).select_from(chat_pairs)
    return connection.execute(statement.where(_is_usable(), _within(start, end))).scalar_one()


def _pairs(
    connection: sqlalchemy.Connection, start: datetime, end: datetime
) -> Sequence[sqlalchemy.RowMapping]:
    """Return the usable pairs of [start, end) that no earlier pair is equal to, in order."""
    earlier = chat_pairs.alias("earlier")
    is_repeated = (
        select(1)
        .where(
            earlier.c.content_sha256 == chat_pairs.c.content_sha256,
            earlier.c.is_complete,
            sqlalchemy.tuple_(earlier.c.occurred_at, earlier.c.event_id)
            < sqlalchemy.tuple_(chat_pairs.c.occurred_at, chat_pairs.c.event_id),
        )
        .exists()
    )
    columns: list[Any] = [
        chat_pairs.c[name]
        for name in ("event_id", "correlation_id", "occurred_at", "model", "messages", "tools")
    ]
    statement = (
        select(*columns)
        .where(_is_usable(), _within(start, end), ~is_repeated)
        .order_by(chat_pairs.c.occurred_at, chat_pairs.c.stream_sequence)
    )
    return connection.execute(statement).mappings().all()
