"""Asks each part of the platform how it is."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal

import aiohttp
import msgspec
import nats.errors

from contracts.broker_access import BrokerAccess, BrokerAccessError
from contracts.broker_client import connect_briefly
from knowledge.encoding.remote_encoder import RemoteEncoder
from knowledge.ports import EncoderUnavailable
from sluice.endpoints import Endpoints
from sluice.servers.probes import http_probe, sql_probe
from sluice.servers.spec import NotReady, Probe


class PartHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One part's answer."""

    status: Literal["ok", "down"]
    latency_ms: float
    detail: str | None = None


async def check_health(endpoints: Endpoints) -> dict[str, PartHealth]:
    """Probe all parts at once; each answers within a few seconds or counts as down."""
    probes: Mapping[str, Probe] = {
        "gateway": http_probe(f"{endpoints.gateway}/healthz"),
        "dagster": http_probe(f"{endpoints.dagster}/server_info"),
        "dagster_daemon": _daemon_probe(endpoints.dagster),
        **_encoder_probes(endpoints.encoder),
        "nats": _nats_probe(endpoints.broker),
        "nats_monitor": http_probe(f"{endpoints.nats_monitor}/healthz"),
        "postgres": sql_probe(endpoints.postgres),
    }
    results = await asyncio.gather(*(_check(probe) for probe in probes.values()))
    return dict(zip(probes, results, strict=True))


async def _check(probe: Probe) -> PartHealth:
    started = time.monotonic()
    detail = None
    try:
        await probe()
    except NotReady as reason:
        detail = str(reason)
    return PartHealth(
        status="ok" if detail is None else "down",
        latency_ms=round((time.monotonic() - started) * 1000, 1),
        detail=detail,
    )


def _encoder_probes(address: str | None) -> Mapping[str, Probe]:
    if address is None:
        return {}
    target = address.removeprefix("grpc://")
    is_grpc = target != address
    return {"encoder": _describe_probe(target) if is_grpc else http_probe(f"{address}/health")}


def _describe_probe(target: str) -> Probe:
    async def probe() -> None:
        encoder = RemoteEncoder(target, timeout_seconds=3)
        try:
            await encoder.describe()
        except EncoderUnavailable as error:
            raise NotReady(str(error)) from error
        finally:
            await encoder.close()

    return probe


def _nats_probe(broker: BrokerAccess) -> Probe:
    async def probe() -> None:
        try:
            connection = await connect_briefly(broker, timeout_seconds=2)
            await connection.close()
        except (BrokerAccessError, nats.errors.Error, OSError, TimeoutError) as error:
            raise NotReady(str(error) or type(error).__name__) from error

    return probe


def _daemon_probe(dagster_url: str) -> Probe:
    """Ready when the webserver says that all required daemons are healthy."""
    query = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"

    async def probe() -> None:
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"{dagster_url}/graphql", json={"query": query}) as reply,
            ):
                answer: Any = await reply.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReady(str(error) or type(error).__name__) from error
        if answer.get("errors"):
            raise NotReady(answer["errors"][0]["message"].partition("\n")[0])
        statuses = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        unhealthy = [
            each["daemonType"] for each in statuses if each["required"] and not each["healthy"]
        ]
        if unhealthy:
            raise NotReady(f"not healthy: {', '.join(unhealthy)}")

    return probe
