"""The sensor that observes how far the consumers are behind. It starts no run."""

from datetime import datetime

import msgspec
from dagster import (
    AssetCheckEvaluation,
    AssetKey,
    AssetObservation,
    DefaultSensorStatus,
    MetadataValue,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from nats.errors import Error as NatsError

from assets.consumer_lag import KEEPS_UP, ConsumerLag, measure_all, verdict
from assets.event_records.kinds import RECORD_KINDS
from contracts.streams import consumer_of_job
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource

_TICK_SECONDS = 30
_REPEAT_SECONDS = 300.0
"""Dagster keeps every observation: an unchanged verdict is repeated this often, if at all."""


class _Observed(msgspec.Struct):
    """What was last said of a consumer."""

    at: datetime
    is_passed: bool
    settled: int
    arrived: int


_cursor_type = dict[str, _Observed]


@sensor(
    name="consumer_lag_watch",
    minimum_interval_seconds=_TICK_SECONDS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Observes what waits for each consumer; its check is red where one is behind.",
)
def consumer_lag_watch(
    context: SensorEvaluationContext, jetstream: JetStreamResource
) -> SensorResult | SkipReason:
    """Observe the consumers whose verdict has changed, or who were busy for five minutes."""
    try:
        lags = run_async(measure_all(jetstream))
    except (NatsError, OSError) as error:
        return SkipReason(f"the broker failed: {error!r}")
    observed = msgspec.json.decode(context.cursor or "{}", type=_cursor_type)
    events: list[AssetObservation | AssetCheckEvaluation] = []
    for kind in RECORD_KINDS:
        name = consumer_of_job(kind.job_name).durable_name
        lag, previous = lags[name], observed.get(name)
        check = verdict(lag)
        if not _is_worth_saying(lag, previous, is_passed=check["passed"]):
            continue
        key = AssetKey(kind.asset_name)
        metadata = {**lag.metadata(), **_rates(lag, previous)}
        events += [
            AssetObservation(key, metadata=metadata),
            AssetCheckEvaluation(asset_key=key, check_name=KEEPS_UP, **check),
        ]
        observed[name] = _Observed(lag.measured_at, check["passed"], lag.settled, lag.arrived)
    return SensorResult(
        asset_events=events,
        cursor=msgspec.json.encode(observed).decode(),
        skip_reason=None if events else SkipReason("nothing has changed"),
    )


def _is_worth_saying(lag: ConsumerLag, previous: _Observed | None, *, is_passed: bool) -> bool:
    if previous is None or previous.is_passed != is_passed:
        return True
    is_due = (lag.measured_at - previous.at).total_seconds() >= _REPEAT_SECONDS
    return is_due and (not is_passed or lag.arrived != previous.arrived)


def _rates(lag: ConsumerLag, previous: _Observed | None) -> dict[str, MetadataValue]:
    """Return events a minute since the last observation; a stream made anew counts from 0."""
    if previous is None or lag.settled < previous.settled:
        return {}
    minutes = max((lag.measured_at - previous.at).total_seconds(), 1.0) / 60
    return {
        "settled_per_minute": MetadataValue.float(
            round((lag.settled - previous.settled) / minutes, 1)
        ),
        "arrived_per_minute": MetadataValue.float(
            round(max(0, lag.arrived - previous.arrived) / minutes, 1)
        ),
    }
