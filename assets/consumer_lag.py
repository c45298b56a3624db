"""How far each consumer of the pipeline is behind its stream, and the checks that say so."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    MetadataValue,
    asset_check,
)
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from assets.event_records.kinds import RECORD_KINDS, RecordKind
from contracts.settings import load_settings
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS, PipelineConsumer, consumer_of_job
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource

KEEPS_UP = "keeps_up"


@dataclass(frozen=True)
class ConsumerLag:
    """One consumer at one moment; counts are of events."""

    waiting: int
    in_flight: int
    """Delivered and not acknowledged."""
    settled: int
    """Acknowledged, redeliveries counted again."""
    oldest_at: datetime | None
    """When the oldest event that is not acknowledged was published; None where there is none."""
    measured_at: datetime

    @property
    def lag_seconds(self) -> float:
        if self.oldest_at is None:
            return 0.0
        return max(0.0, (self.measured_at - self.oldest_at).total_seconds())

    @property
    def arrived(self) -> int:
        return self.settled + self.in_flight + self.waiting

    def is_within(self, limit_seconds: float) -> bool:
        """Tell whether the consumer keeps up."""
        return self.lag_seconds <= limit_seconds

    def metadata(self) -> dict[str, MetadataValue]:
        figures: dict[str, MetadataValue] = {
            "events_waiting": MetadataValue.int(self.waiting),
            "events_in_flight": MetadataValue.int(self.in_flight),
            "lag_seconds": MetadataValue.float(round(self.lag_seconds, 1)),
        }
        if self.oldest_at is not None:
            figures["oldest_waiting_event_at"] = MetadataValue.timestamp(self.oldest_at)
        return figures


async def measure_all(jetstream: JetStreamResource) -> dict[str, ConsumerLag]:
    """Return durable name → lag of every consumer of the pipeline.

    Raises:
        nats.errors.Error, OSError: the broker fails.
    """
    async with jetstream.connect() as client:
        context = client.jetstream()
        lags = await asyncio.gather(*(_measure(context, each) for each in PIPELINE_CONSUMERS))
    return {each.durable_name: lag for each, lag in zip(PIPELINE_CONSUMERS, lags, strict=True)}


async def _measure(jetstream: JetStreamContext, consumer: PipelineConsumer) -> ConsumerLag:
    info = await jetstream.consumer_info(PIPELINE, consumer.durable_name)
    floor = info.ack_floor
    waiting, in_flight = info.num_pending or 0, info.num_ack_pending or 0
    oldest_at = None
    if waiting or in_flight:
        after = floor.stream_seq if floor else 0
        oldest_at = await _published_after(jetstream, consumer.subject, after)
    return ConsumerLag(
        waiting=waiting,
        in_flight=in_flight,
        settled=floor.consumer_seq if floor else 0,
        oldest_at=oldest_at,
        measured_at=datetime.now(UTC),
    )


async def _published_after(
    jetstream: JetStreamContext, subject: str, sequence: int
) -> datetime | None:
    try:
        message = await jetstream.get_msg(
            PIPELINE, sequence + 1, subject=subject, direct=True, next=True
        )
    except NotFoundError:
        return None
    return None if message.time is None else message.time.astimezone(UTC)


def _build_check(kind: RecordKind) -> AssetChecksDefinition:
    consumer = consumer_of_job(kind.job_name)

    @asset_check(
        name=KEEPS_UP,
        asset=kind.asset_name,
        description=(
            f"No event on `{kind.subject}` has waited longer than `pipeline.lag_limit_seconds`."
            " Kept current by the sensor `consumer_lag_watch`."
        ),
    )
    def keeps_up(jetstream: JetStreamResource) -> AssetCheckResult:
        lag = run_async(measure_all(jetstream))[consumer.durable_name]
        return AssetCheckResult(**verdict(lag))

    return keeps_up


def verdict(lag: ConsumerLag) -> dict[str, Any]:
    """Return the fields of the check's result."""
    limit_seconds = load_settings().pipeline.lag_limit_seconds
    return {
        "passed": lag.is_within(limit_seconds),
        "severity": AssetCheckSeverity.ERROR,
        "metadata": {**lag.metadata(), "limit_seconds": limit_seconds},
    }


keeps_up_checks: list[AssetChecksDefinition] = [_build_check(kind) for kind in RECORD_KINDS]
