"""Readiness probes over HTTP, TCP and SQL."""

import asyncio

import aiohttp
import psycopg

from sluice.servers.spec import NotReady, Probe

_TIMEOUT_SECONDS = 3.0
_LONGEST_REASON = 300


def http_probe(url: str) -> Probe:
    """Ready when a GET of `url` answers 200, whoever signed its certificate."""

    async def probe() -> None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url, ssl=False) as reply,
            ):
                if reply.status != 200:
                    reason = (await reply.text(errors="replace"))[:_LONGEST_REASON]
                    raise NotReady(f"{url} answered {reply.status}: {reason}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotReady(f"{url}: {str(error) or type(error).__name__}") from error

    return probe


def tcp_probe(host: str, port: int) -> Probe:
    """Ready when a connection is accepted."""

    async def probe() -> None:
        try:
            _, writer = await asyncio.wait_for(
                asyncio.open_connection(host, port), _TIMEOUT_SECONDS
            )
        except (TimeoutError, OSError) as error:
            raise NotReady(f"{host}:{port}: {str(error) or type(error).__name__}") from error
        writer.close()

    return probe


def sql_probe(database_url: str) -> Probe:
    """Ready when PostgreSQL answers a statement at `database_url`."""

    async def probe() -> None:
        try:
            async with await psycopg.AsyncConnection.connect(
                database_url, connect_timeout=int(_TIMEOUT_SECONDS)
            ) as connection:
                await connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise NotReady(str(error).strip()) from error

    return probe
