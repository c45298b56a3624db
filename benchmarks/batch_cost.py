"""Processor time of one batch, over all processes that work on it, and of the floor's.

Rates depend on what else the machine does meanwhile; processor time hardly does.
"""

import time
from collections.abc import Awaitable
from dataclasses import dataclass

import psutil

from assets.batch_config import EventBatchConfig, SequenceRangeConfig
from assets.event_records.kinds import CHAT_HISTORY
from assets.event_records.persist import acknowledge_batch, persist_batch
from benchmarks.drain_floor import measure_drain_floor
from benchmarks.figures import require
from benchmarks.platform_servers import PlatformServers
from contracts.streams import consumer_of_job
from resources.event_loop import run_async
from resources.jetstream import JetStreamResource
from resources.postgres import PostgresResource


@dataclass(frozen=True)
class Cost:
    """Of one event on average, in microseconds."""

    wall: float
    own: float
    """Processor time of the process that drains."""
    servers: float
    """That of PostgreSQL and the broker."""

    @property
    def per_core(self) -> float:
        """Events that one core gets done in a second, everything counted."""
        return 1e6 / (self.own + self.servers)


def measure_batch_cost(servers: PlatformServers, count: int) -> Cost:
    """Persist and acknowledge the `count` waiting chat events as one batch, in this process.

    Raises:
        InvariantBroken: not all of them became rows.
    """
    consumer = consumer_of_job(CHAT_HISTORY.job_name)
    batch = EventBatchConfig(ranges=[SequenceRangeConfig(first=1, last=count, count=count)])
    postgres = PostgresResource(url=servers.database_url)

    async def drain() -> None:
        async with JetStreamResource(url=servers.nats.url("dagster")).connect() as client:
            outcome = await persist_batch(
                CHAT_HISTORY, consumer, batch, client=client, postgres=postgres
            )
            await acknowledge_batch(client, consumer, batch, outcome.settled)
        require(outcome.new_rows == count, f"{outcome.new_rows} of {count} events became rows")

    return _cost_of(drain(), count)


def measure_floor_cost(servers: PlatformServers, count: int) -> Cost:
    """Do the floor's work on the same events."""
    floor = measure_drain_floor(
        servers.nats.url("admin"), servers.database_url, count, with_headers=False
    )
    return _cost_of(floor, count)


def _cost_of(work: Awaitable[object], count: int) -> Cost:
    async def run() -> None:
        await work

    wall, own, others = time.perf_counter(), time.process_time(), _servers_seconds()
    run_async(run())
    return Cost(
        *(
            1e6 * seconds / count
            for seconds in (
                time.perf_counter() - wall,
                time.process_time() - own,
                _servers_seconds() - others,
            )
        )
    )


def _servers_seconds() -> float:
    """Return the processor seconds of this process's children, ended descendants included."""
    seconds = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            seconds += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            # A backend of PostgreSQL that has ended counts among the postmaster's children.
            continue
    return seconds
