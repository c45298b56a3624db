"""The broker's disk is full for a while: nats-server has to be started again, and is."""

import asyncio
import contextlib
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError

from contracts.settings import PipelineSettings
from sluice import supervisor as supervising
from sluice.servers.credentials import load_or_create_credentials
from sluice.servers.nats import EmbeddedNats
from sluice.streams import apply_streams
from sluice.supervisor import Supervisor
from tests.faults.requirements import require
from tests.faults.small_disks import small_disk
from tests.support.ports import free_port

SUBJECT = "pipeline.knowledge.tool_call"


async def test_the_broker_takes_events_again_once_its_disk_has_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require()
    monkeypatch.setattr(supervising, "_LIVENESS_INTERVAL_SECONDS", 0.5)
    lines: list[str] = []
    with small_disk(tmp_path / "disk", size=64 * 1024 * 1024) as disk:
        server = EmbeddedNats(
            data_dir=disk.path / "data",
            port=free_port(),
            monitor_port=free_port(),
            credentials=load_or_create_credentials(tmp_path / "credentials.json"),
        )
        server.write_configuration()
        supervisor = Supervisor(lambda _name, line: lines.append(line))
        await supervisor.start([server.process()])
        try:
            await apply_streams(server.url("admin"), PipelineSettings())
            kept = await _publish(server, 20)
            disk.fill()
            while await _publish(server, 1):
                kept += 1
            await asyncio.sleep(2)
            assert not any("has to be started again" in line for line in lines)

            disk.empty()
            async with asyncio.timeout(60):
                while not await _publish(server, 1):
                    await asyncio.sleep(0.5)
            assert await _count(server) == kept + 1
            assert any("write error" in line for line in lines)
        finally:
            await supervisor.stop()


async def _publish(server: EmbeddedNats, count: int) -> int:
    """Publish so many events; return how many the broker acknowledged."""
    acknowledged = 0
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        client = await nats.connect(
            server.url("admin"), connect_timeout=2, allow_reconnect=False, max_reconnect_attempts=1
        )
        try:
            jetstream = client.jetstream(timeout=1)
            for _event in range(count):
                await jetstream.publish(SUBJECT, b"x" * 4096)
                acknowledged += 1
        finally:
            await client.close()
    return acknowledged


async def _count(server: EmbeddedNats) -> int:
    client = await nats.connect(server.url("admin"))
    info = await client.jetstream().stream_info("PIPELINE")
    await client.close()
    return info.state.messages
