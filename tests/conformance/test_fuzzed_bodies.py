"""Thousands of odd bodies: each is answered or refused with a reason, and nothing is kept.

`SLUICE_CONFORMANCE_BODIES=100000` makes it the long form.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp import web

from contracts.settings import GatewaySettings
from sluice.servers.gateway import gateway_process
from tests.conformance.fuzzed_bodies import FuzzedRequest, fuzzed_requests
from tests.gateway.conftest import UNREACHABLE_NATS
from tests.gateway.scripted_upstream import COMPLETION, STREAM, ScriptedUpstream, stream_script
from tests.support.ports import free_port
from tests.support.processes import running

BODIES = int(os.environ.get("SLUICE_CONFORMANCE_BODIES", "3000"))
SEED = 20_261_124
IN_FLIGHT = 16
LARGEST_GROWTH_MIB = 24
"""Of resident memory after the first fifth, by which time pools and caches are full."""

_INSIDES = re.compile(
    rb"Traceback|File \\?\"|\.py\b|gateway/|0x[0-9a-f]{8,}|msgspec|asyncio|psycopg"
)


@pytest.fixture
def process(
    upstream: ScriptedUpstream, tmp_path: Path, database_url: str
) -> Iterator[tuple[str, psutil.Process]]:
    """A gateway in a process of its own: its URL, and the process."""
    port = free_port()
    config = tmp_path / "sluice.toml"
    config.write_text(
        f"""
        data_dir = "{tmp_path / "data"}"
        [gateway]
        port = {port}
        log_format = "json"
        # Events wait in the spool, not in memory: that is what is measured.
        publish_queue_events = 1
        [encoder]
        enabled = false
        [[backends]]
        name = "scripted"
        kind = "openai"
        url = "{upstream.url}"
        models = ["tiny"]
        """
    )
    environment = {
        "SLUICE_CONFIG": str(config),
        "NATS_URL": UNREACHABLE_NATS,
        "DATABASE_URL": database_url,
    }
    spec = gateway_process(GatewaySettings(port=port), environment)
    with running(spec, log=tmp_path / "log") as started:
        yield f"http://127.0.0.1:{port}", psutil.Process(started.pid)


@pytest.mark.timeout(1800)
async def test_odd_bodies_are_answered_or_refused(
    process: tuple[str, psutil.Process],
    upstream: ScriptedUpstream,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    url, server = process
    whole, streamed = json.dumps(COMPLETION).encode(), stream_script(STREAM)

    async def answer(asked: web.Request) -> web.StreamResponse:
        upstream.requests.clear()
        if json.loads(await asked.read()).get("stream"):
            return await streamed(asked)
        return web.Response(body=whole, content_type="application/json")

    upstream.script = answer
    statuses: Counter[int] = Counter()
    requests = fuzzed_requests(SEED, BODIES, ("tiny", "tiny", "huge"))
    async with aiohttp.ClientSession(url) as client:

        async def send_some() -> None:
            for fuzzed in requests:
                statuses[await _send(client, fuzzed)] += 1
                if statuses.total() == BODIES // 5:
                    sizes.append(server.memory_info().rss)

        sizes: list[int] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(send_some())
        sizes.append(server.memory_info().rss)
        async with client.get("/healthz") as response:
            assert response.status == 200

    assert statuses.total() == BODIES
    assert statuses[200] > BODIES / 10, statuses
    assert statuses[400] > BODIES / 10, statuses
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
    growth = (sizes[1] - sizes[0]) / 2**20
    assert growth < LARGEST_GROWTH_MIB
    request.node.user_properties += [
        ("odd bodies", BODIES),
        ("answers to them by status", dict(sorted(statuses.items()))),
        ("growth of resident memory over the last four fifths of them, MiB", round(growth, 1)),
    ]


async def _send(client: aiohttp.ClientSession, fuzzed: FuzzedRequest) -> int:
    async with client.post(fuzzed.path, data=fuzzed.body, headers=fuzzed.headers) as response:
        body = await response.read()
        assert response.status < 500, (fuzzed, body)
        if response.status != 200:
            assert not _INSIDES.search(body), (fuzzed, body)
            _check_envelope(json.loads(body))
        return response.status


def _check_envelope(answer: Any) -> None:
    error = answer["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"]
