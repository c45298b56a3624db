"""`sluice replay`: launches the jobs again over events that the stream still holds."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from contracts.broker_access import BrokerAccess
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS, PipelineConsumer
from sluice.admin_connection import jetstream_of_admin
from sluice.dagster_api import launch

REPLAY_TAG = "sluice/replay"

_AGE = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_AGE_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Bound = int | datetime
"""A stream sequence, or a moment in UTC."""


class NoBound(ValueError):
    """A text is neither a sequence nor a moment."""


@dataclass(frozen=True)
class ReplayedJob:
    """One job's part of a replay."""

    consumer: PipelineConsumer
    events: int
    """As many as the stream holds of the job's subject between the bounds."""


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay does."""

    first: int
    """Stream sequence, included, like `last`."""
    last: int
    first_published_at: datetime | None
    last_published_at: datetime | None
    jobs: Sequence[ReplayedJob]

    @property
    def days(self) -> list[str]:
        """The UTC days that the events can be of, as partition keys."""
        if self.first_published_at is None or self.last_published_at is None:
            return []
        # An event is a little older than its message.
        day = (self.first_published_at - timedelta(hours=1)).date()
        days = []
        while day <= self.last_published_at.date():
            days.append(day.isoformat())
            day += timedelta(days=1)
        return days


def read_bound(text: str, now: datetime) -> Bound:
    """Read a sequence (`1200`), an age (`90m`, `2d`) or a moment (ISO 8601, UTC unless it says).

    Raises:
        NoBound: it is none of these.
    """
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if age := _AGE.fullmatch(text):
        return now - timedelta(**{_AGE_UNITS[age[2]]: int(age[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NoBound(
            f"{text!r} is neither a stream sequence, nor an age such as 90m or 2d, nor a moment"
            " such as 2026-05-01T12:00"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


async def plan_replay(
    broker: str | BrokerAccess, start: Bound, end: Bound | None, job_names: Sequence[str] = ()
) -> ReplayPlan:
    """Find out what lies between the bounds; a moment is that of publishing.

    Args:
        end: None: all that there is now.
        job_names: of the jobs to launch; empty: all.

    Raises:
        BrokerAccessError, nats.errors.Error, OSError: the broker fails.
    """
    async with jetstream_of_admin(broker) as jetstream:
        state = (await jetstream.stream_info(PIPELINE)).state
        first = max(state.first_seq, await _sequence_at(jetstream, start, state.last_seq))
        last = state.last_seq
        if isinstance(end, int):
            last = min(last, end)
        elif end is not None:
            last = await _sequence_at(jetstream, end, last) - 1
        jobs = [
            ReplayedJob(consumer, await _count(jetstream, consumer.subject, first, last))
            for consumer in PIPELINE_CONSUMERS
            if not job_names or consumer.job_name in job_names
        ]
        is_empty = last < first
        return ReplayPlan(
            first,
            last,
            None if is_empty else await _published_at(jetstream, first),
            None if is_empty else await _published_at(jetstream, last),
            jobs,
        )


def launch_replay(dagster_url: str, plan: ReplayPlan, *, batch_limit: int) -> Iterator[str]:
    """Launch the runs of `plan`, each over at most `batch_limit` sequences; yield their IDs.

    Raises:
        RunFailed: Dagster does not answer, or refuses.
    """
    from assets.batch_config import batch_run_config
    from assets.jobs import BATCH_ASSETS
    from resources.batch_messages import SequenceRange

    for job in plan.jobs:
        if not job.events:
            continue
        assets = BATCH_ASSETS[job.consumer.job_name]
        # A run of the job that also writes the daily files works on one day.
        partitions: Sequence[str | None] = plan.days if len(assets) > 1 else [None]
        for first in range(plan.first, plan.last + 1, batch_limit):
            last = min(plan.last, first + batch_limit - 1)
            for partition in partitions:
                tags = {REPLAY_TAG: f"{plan.first}-{plan.last}"}
                if partition is not None:
                    tags["dagster/partition"] = partition
                config = batch_run_config(assets, [SequenceRange(first, last, 0)])
                yield launch(dagster_url, job.consumer.job_name, config, tags)


async def _sequence_at(jetstream: JetStreamContext, bound: Bound, last: int) -> int:
    """Return the sequence of the first message at or after `bound`; past `last` if none is."""
    if isinstance(bound, int):
        return bound
    if bound > datetime.now(UTC):
        # The broker takes a moment past the year 2262 for one before all messages.
        return last + 1
    # The broker, asked for a consumer from a moment on, says what comes before it.
    info = await _peek(
        jetstream, deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=bound.isoformat()
    )
    return int(info.delivered.stream_seq) + 1 if info.num_pending else last + 1


async def _count(jetstream: JetStreamContext, subject: str, first: int, last: int) -> int:
    if last < first:
        return 0
    pending = []
    for start in (first, last + 1):
        info = await _peek(
            jetstream,
            filter_subject=subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start,
        )
        pending.append(info.num_pending or 0)
    return pending[0] - pending[1]


async def _peek(jetstream: JetStreamContext, **config: Any) -> Any:
    """Return what the broker says of a consumer that nobody will read from."""
    info = await jetstream.add_consumer(
        PIPELINE,
        ConsumerConfig(
            ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=5.0, **config
        ),
    )
    await jetstream.delete_consumer(PIPELINE, info.name)
    return info


async def _published_at(jetstream: JetStreamContext, sequence: int) -> datetime | None:
    message = await jetstream.get_msg(PIPELINE, sequence)
    return None if message.time is None else message.time.astimezone(UTC)
