"""Streams by JetStream's snapshots, and what a backup refuses."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.broker_client import connect_briefly
from contracts.settings import PipelineSettings, Settings
from contracts.streams import PIPELINE, PIPELINE_CONSUMERS
from contracts.subjects import PipelineSubject
from sluice.backup.copying import copy_tree
from sluice.backup.create import create_backup
from sluice.backup.manifest import BackupError
from sluice.backup.restore import restore_backup, verify_backup
from sluice.backup.streams import load_stream, make_consumers, read_acknowledged, save_stream
from sluice.cli import main
from sluice.servers.nats import EmbeddedNats
from sluice.stack import Stack
from sluice.streams import apply_streams, count_changes
from tests.support.broker_servers import new_broker, started_broker
from tests.support.events import publish_bodies

DURABLE = next(each for each in PIPELINE_CONSUMERS if each.subject == PipelineSubject.TOOL_CALL)


async def pull(server: EmbeddedNats, count: int) -> list[bytes]:
    """Pull and acknowledge."""
    client = await connect_briefly(server.access("admin"))
    subscription = await client.jetstream().pull_subscribe_bind(
        durable=DURABLE.durable_name, stream=PIPELINE
    )
    messages = await subscription.fetch(count, timeout=10)
    for message in messages:
        await message.ack_sync()
    await client.close()
    return [str(message.metadata.sequence.stream).encode() for message in messages]


async def test_a_stream_goes_on_elsewhere_where_it_was_acknowledged(
    nats_server: EmbeddedNats, tmp_path: Path, pipeline_settings: PipelineSettings
) -> None:
    bodies = [bytes([65 + number % 26]) * 20_000 for number in range(200)]
    url = nats_server.url("admin")
    await publish_bodies(url, PipelineSubject.TOOL_CALL, bodies)
    await pull(nats_server, 60)
    client = await connect_briefly(nats_server.access("admin"))
    acknowledged = (await read_acknowledged(client))[PIPELINE]
    assert acknowledged[DURABLE.durable_name] == 60
    file = tmp_path / "snapshot"
    backup = await save_stream(client, PIPELINE, file, acknowledged)
    with pytest.raises(BackupError, match="name already in use"):
        await load_stream(client, PIPELINE, file, backup)
    await client.close()

    elsewhere = new_broker(tmp_path / "elsewhere")
    elsewhere.write_configuration()
    async with started_broker(elsewhere, tmp_path / "elsewhere.log"):
        client = await connect_briefly(elsewhere.access("admin"))
        await load_stream(client, PIPELINE, file, backup)
        await make_consumers(client, pipeline_settings, {PIPELINE: backup})
        info = await client.jetstream().stream_info(PIPELINE)
        assert (info.state.messages, info.state.last_seq) == (200, 200)
        message = await client.jetstream().get_msg(PIPELINE, 137)
        assert message.data == bodies[136]
        await client.close()
        # The platform's own start finds nothing to change at the consumers.
        applied = await apply_streams(elsewhere.access("admin"), pipeline_settings)
        assert [each for each in applied if each.outcome == "updated"] == []
        assert count_changes(await apply_streams(elsewhere.access("admin"), pipeline_settings)) == 0
        assert (await pull(elsewhere, 5))[0] == b"61"


async def test_a_damaged_snapshot_is_refused(nats_server: EmbeddedNats, tmp_path: Path) -> None:
    await publish_bodies(nats_server.url("admin"), PipelineSubject.TOOL_CALL, [b"x" * 1000] * 50)
    client = await connect_briefly(nats_server.access("admin"))
    file = tmp_path / "snapshot"
    backup = await save_stream(client, PIPELINE, file, {})
    await client.jetstream().delete_stream(PIPELINE)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = b"\0" * 50
    file.write_bytes(content)
    with pytest.raises(BackupError, match="does not restore PIPELINE"):
        await load_stream(client, PIPELINE, file, backup)
    await client.close()


def test_files_that_come_and_go_meanwhile_are_no_failure(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    copy_tree(source, target)
    assert not target.exists()
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a").write_text("a")
    copy_tree(source, target)
    (source / "b").write_text("b")
    (source / "deep" / "a").write_text("longer")
    copy_tree(source, target)
    assert {file.name: file.read_text() for file in target.rglob("*") if file.is_file()} == {
        "a": "longer",
        "b": "b",
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def say(_what: str) -> None:
    pass


def test_anothers_servers_are_not_backed_up(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", nats={"url": "nats://127.0.0.1:1"})
    with pytest.raises(BackupError, match=r"docs/backup\.md"):
        asyncio.run(create_backup(Stack.of_settings(settings), tmp_path / "backup", say))


def test_a_folder_with_something_in_it_is_not_written_to(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        asyncio.run(create_backup(Stack.of_settings(settings), tmp_path, say))


def test_what_is_no_backup_is_not_restored(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"no manifest\.json"):
        verify_backup(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BackupError, match="is damaged"):
        asyncio.run(restore_backup(settings, tmp_path, say))
    assert not settings.data_dir.exists()
    result = CliRunner().invoke(main, ["restore", "--verify-only", str(tmp_path)])
    assert result.exit_code == 1
    assert "is damaged" in result.output
