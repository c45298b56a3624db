"""The factory of the JetStream pull sensors: one tick, one batch, one run.

A sensor never acknowledges: its body ends before any run is submitted, so that would be
at-most-once. The run acknowledges what it has committed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import msgspec
from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,
)
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo

from assets.batch_config import GivenUpMessage, batch_run_config
from assets.chat_pair_dataset import daily
from assets.event_records.kinds import CHAT_PAIR
from assets.jobs import BATCH_ASSETS, event_jobs
from contracts.settings import PipelineSettings, load_settings
from contracts.streams import ADVISORIES, PIPELINE, PIPELINE_CONSUMERS, PipelineConsumer
from contracts.subjects import PipelineSubject
from resources.batch_messages import DeliveredMessage, MessageStamp, ranges_of, stamp_of
from resources.batch_pull import pull_messages
from resources.batch_settle import give_back, sequences_within
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.jetstream_client import JetStreamClient
from resources.postgres import PostgresResource
from sensors.batch_runs import CONSUMER_TAG, BatchRuns

_TICK_SECONDS = 4
"""The daemon looks every 5 seconds and counts from a tick's own start, a moment after it looked:
with 5 here it would find every second look too early."""


@dataclass(frozen=True)
class PulledBatch:
    """What one pull brought."""

    key: str = ""
    """Differs for every delivery, of whatever incarnation of the stream."""
    stamps: Sequence[MessageStamp] = ()
    given_up: Sequence[GivenUpMessage] = ()
    """Messages that exceeded their deliveries."""

    @property
    def is_empty(self) -> bool:
        return not self.stamps and not self.given_up


class _MaxDeliveriesAdvisory(msgspec.Struct):
    """`io.nats.jetstream.advisory.v1.max_deliver`, as far as it is needed."""

    stream_seq: int


def build_pull_sensor(name: str, subject: PipelineSubject) -> SensorDefinition:
    """Return the sensor that turns waiting events of `subject` into runs of its jobs."""
    consumers = [each for each in PIPELINE_CONSUMERS if each.subject == subject]
    job_names = {each.job_name for each in consumers}

    @sensor(
        name=name,
        jobs=[job for job in event_jobs if job.name in job_names],
        minimum_interval_seconds=_TICK_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=f"Pulls `{subject}` and requests one run for all events that wait.",
    )
    def pull(
        context: SensorEvaluationContext,
        jetstream: JetStreamResource,
        postgres: PostgresResource,
    ) -> Iterator[RunRequest | SkipReason]:
        settings = load_settings().pipeline
        reasons = []
        for consumer in consumers:
            outcome = _evaluate(consumer, context, jetstream, postgres, settings)
            if isinstance(outcome, str):
                reasons.append(f"{consumer.durable_name}: {outcome}")
            else:
                yield from _run_requests(consumer, outcome)
        if len(reasons) == len(consumers):
            yield SkipReason("; ".join(reasons))

    return pull


def _evaluate(
    consumer: PipelineConsumer,
    context: SensorEvaluationContext,
    jetstream: JetStreamResource,
    postgres: PostgresResource,
    settings: PipelineSettings,
) -> PulledBatch | str:
    """Return the consumer's next batch, or why there is none."""
    runs = BatchRuns(context.instance, consumer.durable_name)
    in_flight = runs.find_in_flight(postgres)
    if in_flight is not None:
        return f"its batch is in flight in run {in_flight.dagster_run.run_id}"
    delay = runs.retry_delay_seconds()
    if delay > 0:
        return f"its last runs failed, next try in {delay:.0f} s"
    try:
        batch = run_async(_pull(consumer, runs, jetstream, settings))
    except (NatsError, OSError) as error:
        context.log.warning(f"{consumer.durable_name}: the broker failed: {error!r}")
        return f"the broker failed: {error!r}"
    return "no events wait" if batch.is_empty else batch


async def _pull(
    consumer: PipelineConsumer,
    runs: BatchRuns,
    jetstream: JetStreamResource,
    settings: PipelineSettings,
) -> PulledBatch:
    async with jetstream.connect() as client:
        info = await client.jetstream().consumer_info(PIPELINE, consumer.durable_name)
        if info.num_ack_pending:
            await _give_failed_batches_back(client, consumer, runs)
        stamps: list[MessageStamp] = []
        if info.num_pending or info.num_ack_pending:
            messages = await pull_messages(
                client,
                stream=PIPELINE,
                durable=consumer.durable_name,
                limit=settings.batch_limit,
                seconds=settings.pull_seconds,
            )
            stamps = [stamp_of(message) for message in messages]
        advisories = await _pull_advisories(client, consumer, settings)
        return PulledBatch(
            key=_delivery_key(info, stamps, advisories),
            stamps=stamps,
            given_up=[_given_up_message(advisory) for advisory in advisories],
        )


async def _give_failed_batches_back(
    client: JetStreamClient, consumer: PipelineConsumer, runs: BatchRuns
) -> None:
    """Do what a run that was killed could not: not wait for the ack wait to pass."""
    for batch in runs.failed_batches():
        await give_back(
            client,
            stream=PIPELINE,
            consumer=consumer.durable_name,
            sequences=sequences_within(batch.sequence_ranges),
        )


async def _pull_advisories(
    client: JetStreamClient, consumer: PipelineConsumer, settings: PipelineSettings
) -> list[DeliveredMessage]:
    info = await client.jetstream().consumer_info(ADVISORIES, consumer.advisories_durable_name)
    if not info.num_pending and not info.num_ack_pending:
        return []
    return await pull_messages(
        client,
        stream=ADVISORIES,
        durable=consumer.advisories_durable_name,
        limit=settings.batch_limit,
        seconds=settings.pull_seconds,
    )


def _given_up_message(advisory: DeliveredMessage) -> GivenUpMessage:
    content = msgspec.json.decode(advisory.body, type=_MaxDeliveriesAdvisory)
    return GivenUpMessage(sequence=content.stream_seq, advisory_sequence=advisory.sequence)


def _delivery_key(
    info: ConsumerInfo, stamps: Sequence[MessageStamp], advisories: Sequence[DeliveredMessage]
) -> str:
    """Name this delivery: Dagster never runs a key twice, failed runs included.

    A consumer numbers its deliveries, so its newest number tells a redelivered batch from its
    first delivery; the consumer's creation tells apart streams that were made anew.
    """
    newest = max((each.consumer_sequence for each in stamps), default=0)
    newest_advisory = max((each.consumer_sequence for each in advisories), default=0)
    return f"{info.created}:{newest}:{newest_advisory}"


def _run_requests(consumer: PipelineConsumer, batch: PulledBatch) -> Iterator[RunRequest]:
    if consumer.job_name != CHAT_PAIR.job_name:
        yield _run_request(consumer, batch)
        return
    # The dataset is partitioned by day, and a run works on one partition.
    by_day: dict[date, list[MessageStamp]] = defaultdict(list)
    for stamp in batch.stamps:
        by_day[_day_of(stamp)].append(stamp)
    if batch.given_up:
        by_day.setdefault(datetime.now(UTC).date(), [])
    given_up = batch.given_up
    for day, stamps in sorted(by_day.items(), reverse=True):
        yield _run_request(consumer, PulledBatch(batch.key, stamps, given_up), day=day)
        given_up = ()


def _day_of(stamp: MessageStamp) -> date:
    """Return the partition whose run takes the message in.

    The gateway's clock may be wrong by years. A day that is no partition would have Dagster
    refuse the tick, and with it every other event that waits.
    """
    days = (stamp.occurred_at.date(), stamp.published_at.date())
    return next(
        (day for day in days if daily.has_partition_key(day.isoformat())),
        datetime.now(UTC).date(),
    )


def _run_request(
    consumer: PipelineConsumer, batch: PulledBatch, *, day: date | None = None
) -> RunRequest:
    partition_key = day.isoformat() if day else None
    return RunRequest(
        job_name=consumer.job_name,
        partition_key=partition_key,
        run_key=f"{consumer.durable_name}:{partition_key or 'all'}:{batch.key}",
        run_config=batch_run_config(
            BATCH_ASSETS[consumer.job_name], ranges_of(batch.stamps), batch.given_up
        ),
        tags={
            CONSUMER_TAG: consumer.durable_name,
            "sluice/events": str(len(batch.stamps)),
            "sluice/delivery": str(max((each.delivered for each in batch.stamps), default=0)),
        },
    )
