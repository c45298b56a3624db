"""What broker, database and Dagster say of the pipeline, for Prometheus.

All three are asked at each scrape, side by side. One that does not answer is told by
the metric `SOURCE_UP`, and its figures are missing then rather than old.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy
import structlog
from nats.errors import Error as NatsError
from nats.js.api import ConsumerInfo, StreamInfo
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from assets.consumer_lag import measure_all
from assets.dead_letters.store import count_open_by_reason
from contracts.broker_access import BrokerAccess
from contracts.metrics import pipeline as listed
from contracts.streams import TELEMETRY, TELEMETRY_CONSUMER
from contracts.tables import chat_history, lake_watermarks
from resources.jetstream import JetStreamResource
from resources.postgres import PostgresResource
from sluice.dagster_api import RunFailed, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_SECONDS = 5
"""Of each server; Prometheus waits 10 s for all."""
_RUNS_WITHIN_SECONDS = 3600
_STATUSES = {
    "waiting": "QUEUED, NOT_STARTED, MANAGED",
    "running": "STARTING, STARTED, CANCELING",
    "succeeded": "SUCCESS",
    "failed": "FAILURE",
    "canceled": "CANCELED",
}
_COUNT_RUNS = "".join(
    f" {name}: runsOrError(filter: {{statuses: [{statuses}], createdAfter: $after}})"
    " { ... on Runs { count } }"
    for name, statuses in _STATUSES.items()
)
_RUNS = (
    "query Runs($after: Float!) {"
    f"{_COUNT_RUNS}"
    " list: runsOrError(filter: {statuses: [FAILURE], createdAfter: $after}, limit: 500)"
    " { ... on Runs { results { jobName } } } }"
)

_log = structlog.get_logger("sluice.metrics")


class PipelineCollector(Collector):
    """Asks the servers at each scrape."""

    def __init__(
        self, jetstream: JetStreamResource, postgres: PostgresResource, dagster_url: str
    ) -> None:
        self._jetstream = jetstream
        self._postgres = postgres
        self._dagster_url = dagster_url

    @classmethod
    def connecting_to(
        cls, *, nats: str | BrokerAccess, postgres: str, dagster: str
    ) -> "PipelineCollector":
        broker = BrokerAccess.of(nats)
        return cls(
            JetStreamResource(
                url=broker.url, files=broker.paths, connect_timeout_seconds=_TIMEOUT_SECONDS
            ),
            PostgresResource(url=postgres, connect_timeout_seconds=_TIMEOUT_SECONDS),
            dagster,
        )

    def describe(self) -> list[Metric]:
        """Nothing: the client would otherwise scrape once to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        sources: Mapping[str, Callable[[], list[Metric]]] = {
            listed.BROKER: lambda: asyncio.run(_ask_broker(self._jetstream)),
            listed.DATABASE: lambda: _ask_database(self._postgres),
            listed.DAGSTER: lambda: _ask_dagster(self._dagster_url),
        }
        with ThreadPoolExecutor(len(sources)) as threads:
            answers = dict(
                zip(sources, threads.map(_answer_of, sources, sources.values()), strict=True)
            )
        yield listed.SOURCE_UP.family(
            {(source,): float(answer is not None) for source, answer in answers.items()}
        )
        for answer in answers.values():
            yield from answer or ()


def metrics_registry(collector: PipelineCollector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


def _answer_of(source: str, read: Callable[[], list[Metric]]) -> list[Metric] | None:
    try:
        return read()
    except (NatsError, OSError, SQLAlchemyError, RunFailed) as error:
        _log.warning("a server does not tell its figures", source=source, error=repr(error))
        return None


async def _ask_broker(jetstream: JetStreamResource) -> list[Metric]:
    lags = await measure_all(jetstream)
    async with jetstream.connect() as client:
        context = client.jetstream()
        names = sorted(listed.STREAM.values or ())
        streams: dict[str, StreamInfo] = dict(
            zip(names, await asyncio.gather(*map(context.stream_info, names)), strict=True)
        )
        vector: ConsumerInfo = await context.consumer_info(TELEMETRY, TELEMETRY_CONSUMER)
    reader = (TELEMETRY_CONSUMER,)
    return [
        listed.WAITING.family(
            {(name,): lag.waiting for name, lag in lags.items()} | {reader: vector.num_pending or 0}
        ),
        listed.IN_FLIGHT.family(
            {(name,): lag.in_flight for name, lag in lags.items()}
            | {reader: vector.num_ack_pending or 0}
        ),
        listed.LAG.family({(name,): lag.lag_seconds for name, lag in lags.items()}),
        listed.SETTLED.family(
            {(name,): lag.settled for name, lag in lags.items()}
            | {reader: vector.ack_floor.consumer_seq if vector.ack_floor else 0}
        ),
        listed.STREAM_BYTES.family({(name,): info.state.bytes for name, info in streams.items()}),
        listed.STREAM_EVENTS.family(
            {(name,): info.state.last_seq for name, info in streams.items()}
        ),
    ]


def _ask_database(postgres: PostgresResource) -> list[Metric]:
    with postgres.begin() as connection:
        connection.execute(sqlalchemy.text(f"SET LOCAL statement_timeout = '{_TIMEOUT_SECONDS}s'"))
        letters = count_open_by_reason(connection)
        batches = connection.execute(
            select(
                lake_watermarks.c.table_name,
                lake_watermarks.c.row_count,
                lake_watermarks.c.recorded_at,
            )
            .distinct(lake_watermarks.c.table_name)
            .order_by(lake_watermarks.c.table_name, lake_watermarks.c.recorded_at.desc())
        ).all()
        oldest, newest = connection.execute(
            select(func.min(chat_history.c.occurred_at), func.max(chat_history.c.occurred_at))
        ).one()
    last_batch = max((each.recorded_at for each in batches), default=oldest)
    behind = 0.0 if newest is None else max(0.0, (newest - last_batch).total_seconds())
    return [
        listed.DEAD_LETTERS.family({(reason,): count for reason, count in letters.items()}),
        listed.LAKE_BEHIND.value(behind),
        listed.LAKE_BATCH_AT.family(
            {(each.table_name,): each.recorded_at.timestamp() for each in batches}
        ),
        listed.LAKE_BATCH_ROWS.family({(each.table_name,): each.row_count for each in batches}),
    ]


def _ask_dagster(dagster_url: str) -> list[Metric]:
    after = datetime.now(UTC).timestamp() - _RUNS_WITHIN_SECONDS
    answer = ask(dagster_url, _RUNS, {"after": after}, timeout_seconds=_TIMEOUT_SECONDS)
    failed: dict[tuple[str, ...], float] = {}
    for run in answer["list"]["results"]:
        failed[run["jobName"],] = failed.get((run["jobName"],), 0) + 1
    return [
        listed.RUNS.family({(status,): answer[status]["count"] for status in _STATUSES}),
        listed.FAILED_RUNS.family(failed),
    ]
