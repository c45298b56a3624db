"""One run: platform up, load on, faults, load off, everything settled, verdict."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import nats.errors
import psycopg

from contracts.settings import NatsSettings, PipelineSettings
from tests.faults.calls import calls_of
from tests.faults.checker import Finding, Verdict, check
from tests.faults.client import new_session
from tests.faults.history import History, HistoryFile, read_history
from tests.faults.load import Load
from tests.faults.nemesis import PlannedFault, inflict_all
from tests.faults.outage import Outages, read_all_telemetry
from tests.faults.rows import all_correlation_ids, read_rows
from tests.faults.topology import ThreeHosts, three_hosts
from tests.support.broker import unsettled

Say = Callable[[str], None]

_DOCUMENT = """# The weir

## Spillway

The spillway gate of the weir opens at a water level of 412 centimetres.

## Turbines

The turbine hall keeps four spare runners. The divers are on call every second Thursday.
"""
_HEALTHY_SECONDS = 3.0
"""Of load before the first fault and after the last."""
_TELEMETRY_SECONDS = 60.0


@dataclass(frozen=True)
class SoakOptions:
    """What a run is to be."""

    seed: int
    plan: Sequence[PlannedFault]
    outages: Outages | None
    """Comes before the plan."""
    rate: float
    """Calls a second."""
    settle_seconds: float
    """What the pipeline gets after the last fault to become complete."""
    has_ui: bool
    ack_wait_seconds: float
    telemetry_max_bytes: int
    """Of the stream; small, so that a reader that is away for long misses something."""


async def soak(folder: Path, options: SoakOptions, *, say: Say) -> Verdict:
    """Run the platform in `folder` and its faults; this process moves to their network."""
    pipeline = PipelineSettings(ack_wait_seconds=options.ack_wait_seconds)
    broker = NatsSettings(telemetry_max_bytes=options.telemetry_max_bytes)
    started = time.monotonic()
    async with three_hosts(
        folder, pipeline=pipeline, broker=broker, has_ui=options.has_ui
    ) as platform:
        say(f"three hosts are up after {time.monotonic() - started:.0f} s")
        return await run_faults(platform, options, say=say)


async def run_faults(platform: ThreeHosts, options: SoakOptions, *, say: Say) -> Verdict:
    """Put the load on a running platform, inflict the faults, and judge what is left."""
    await ingest_documents(platform)
    before = await asyncio.to_thread(all_correlation_ids, platform.database_url)
    file = platform.settings.folder / "history.jsonl"
    with HistoryFile(file) as history:
        load = Load(platform, history, calls_of(options.seed), rate=options.rate)
        running = asyncio.create_task(load.run())
        watching = asyncio.create_task(load.watch())
        await asyncio.sleep(_HEALTHY_SECONDS)
        if options.outages is not None:
            await options.outages.inflict(platform, history)
        await inflict_all(options.plan, platform, history)
        await asyncio.sleep(_HEALTHY_SECONDS)
        load.stop()
        await running
        say(f"{load.sent} calls sent, {load.unseen} of the answered ones are not persisted yet")
        stuck = await _settle(platform, load, options.settle_seconds)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await load.look_for_rows()
    rows = await asyncio.to_thread(read_rows, platform.database_url, before=before)
    findings = check(recorded := History.of(read_history(file)), rows)
    findings += [Finding("stuck", "-", each) for each in stuck]
    telemetry = await read_all_telemetry(platform, seconds=_TELEMETRY_SECONDS)
    return Verdict(options.seed, recorded, findings, telemetry)


async def ingest_documents(platform: ThreeHosts) -> None:
    """Give the platform something to search in."""
    documents = platform.settings.folder / "documents"
    documents.mkdir(exist_ok=True)
    (documents / "weir.md").write_text(_DOCUMENT)
    await platform.ingest(documents)


async def _settle(platform: ThreeHosts, load: Load, seconds: float) -> list[str]:
    """Wait until nothing waits anywhere; return what still does when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        waiting = await _waiting(platform)
        if load.unseen:
            waiting.append(f"{load.unseen} answered calls have no row")
        if not waiting or time.monotonic() > deadline:
            return waiting
        await asyncio.sleep(1)


async def _waiting(platform: ThreeHosts) -> list[str]:
    found = []
    try:
        async with (
            new_session(platform.api_key, seconds=5) as session,
            session.get(f"{platform.gateway_url}/healthz?verbose") as reply,
        ):
            health = await reply.json()
        if health["broker"]["events_waiting"]:
            found.append(f"{health['broker']['events_waiting']} events wait in the gateway")
    except (aiohttp.ClientError, TimeoutError) as error:
        found.append(f"the gateway does not answer: {error!r}")
    try:
        consumers = await asyncio.to_thread(unsettled, platform.broker_url)
        found += [f"{name}: {counts} wait" for name, counts in consumers.items()]
    except (nats.errors.Error, OSError, TimeoutError) as error:
        found.append(f"the broker does not answer: {error!r}")
    try:
        with psycopg.connect(platform.database_url, connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        found.append(f"PostgreSQL does not answer: {error}")
    return found
