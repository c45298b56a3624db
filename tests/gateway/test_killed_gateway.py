"""`kill -9` of the gateway at random moments under load: what was answered is published, once."""

import asyncio
import random
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from contracts.settings import PipelineSettings
from contracts.subjects import PipelineSubject
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats
from sluice.streams import apply_streams
from tests.gateway.conftest import chat_body
from tests.gateway.recorded_events import read_events
from tests.gateway.scripted_upstream import (
    COMPLETION,
    STREAM,
    ScriptedUpstream,
    answer_json,
    stream_script,
)
from tests.gateway.test_server import gateway_process, wait_until_alive
from tests.support.ports import free_port
from tests.support.processes import running

CHAT = "/v1/chat/completions"
CLIENTS = 10


class Load:
    """Clients that call the gateway until they are stopped, and what they were answered."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._number = 0
        self.answered: list[str] = []
        """Correlation IDs of the calls whose answers came to their end."""

    async def run(self) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._call_until_refused(session))

    async def _call_until_refused(self, session: aiohttp.ClientSession) -> None:
        while True:
            self._number += 1
            number, correlation_id = self._number, f"{self._name}-{self._number}"
            try:
                async with session.post(
                    self._url + CHAT,
                    json=chat_body(stream=number % 2 == 0),
                    headers={"X-Correlation-ID": correlation_id},
                ) as response:
                    await response.read()
            except aiohttp.ClientError:
                return
            if response.status == 503:
                return  # It is shutting down.
            assert response.status == 200
            self.answered.append(correlation_id)


@pytest.mark.timeout(280)
async def test_what_was_answered_is_published_once(
    tmp_path: Path, upstream: ScriptedUpstream, pipeline_settings: PipelineSettings
) -> None:
    """The broker is there, stands still, is killed too, and is back."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    moments = random.Random(seed)

    async def answer_in_a_while(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(moments.uniform(0.02, 0.15))
        if (await request.json()).get("stream"):
            return await stream_script(STREAM)(request)
        return await answer_json(COMPLETION)

    upstream.script = answer_in_a_while
    nats = EmbeddedNats(
        data_dir=tmp_path / "nats",
        port=free_port(),
        monitor_port=free_port(),
        credentials=load_or_create_credentials(tmp_path / "credentials.json"),
    )
    nats.write_configuration()
    answered: list[str] = []
    with ExitStack() as stack:

        async def start_broker() -> subprocess.Popen[bytes]:
            manager = running(nats.process(), log=tmp_path / "nats.log")
            return await asyncio.to_thread(stack.enter_context, manager)

        broker = await start_broker()
        await apply_streams(nats.url("admin"), pipeline_settings)
        port = free_port()
        (tmp_path / "sluice.toml").write_text(configuration(port, nats, upstream))
        for what in ("broker there", "broker stopped", "broker killed"):
            async with under_load(tmp_path, port, what.replace(" ", "-"), answered) as gateway:
                await asyncio.sleep(moments.uniform(0.1, 1.5))
                if what == "broker stopped":
                    broker.send_signal(signal.SIGSTOP)
                if what == "broker killed":
                    broker.kill()
                await asyncio.sleep(moments.uniform(0, 1))
                gateway.kill()
            broker.send_signal(signal.SIGCONT)
        broker = await start_broker()
        async with under_load(tmp_path, port, "last", answered) as gateway:
            await asyncio.sleep(0.3)
            gateway.send_signal(signal.SIGTERM)
            await asyncio.to_thread(gateway.wait, 60)
        events = await read_events(nats.url("admin"))
    assert len(answered) > 4 * CLIENTS
    for subject in (PipelineSubject.CHAT_PERSIST, PipelineSubject.FLOW_LINEAGE):
        published = Counter(each.event.correlation_id for each in events if each.subject is subject)
        assert [each for each in answered if each not in published] == []
        assert set(published.values()) == {1}
    assert list(tmp_path.rglob("*.segment")) == []


def configuration(port: int, nats: EmbeddedNats, upstream: ScriptedUpstream) -> str:
    return f"""
        [gateway]
        port = {port}
        shutdown_grace_seconds = 60
        [nats]
        url = "{nats.url("gateway")}"
        [postgres]
        url = "postgresql://nobody@127.0.0.1:1/none"
        [encoder]
        enabled = false
        [retrieval]
        enabled = false
        [spool]
        segment_bytes = 65536
        [[backends]]
        name = "scripted"
        kind = "vllm"
        url = "{upstream.url}"
        models = ["tiny"]
        """


@asynccontextmanager
async def under_load(
    folder: Path, port: int, name: str, answered: list[str]
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run a gateway, and clients that call it until it is gone; add what was answered."""
    url = f"http://127.0.0.1:{port}"
    with gateway_process(folder) as (gateway, _log):
        async with aiohttp.ClientSession() as client:
            await wait_until_alive(client, url)
        load = Load(url, name)
        clients = asyncio.create_task(load.run())
        yield gateway
        await clients
        answered += load.answered
