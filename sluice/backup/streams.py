"""Streams of the broker as files, by JetStream's own snapshots.

https://docs.nats.io/reference/reference-protocols/nats_api_reference#stream-snapshot: the server
sends the stream as it is at one moment, in chunks, while it goes on taking messages.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from contracts.settings import PipelineSettings
from contracts.streams import ADVISORIES, PIPELINE, TELEMETRY
from sluice.backup.manifest import BackupError, StreamBackup
from sluice.streams import wanted_consumers

STREAMS = (PIPELINE, TELEMETRY, ADVISORIES)

_API_SECONDS = 10.0
_CHUNK_SECONDS = 60.0
_CHUNK_BYTES = 256 * 1024


class _ApiError(msgspec.Struct):
    description: str = "unknown error"


class _SnapshotReply(msgspec.Struct):
    config: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    error: _ApiError | None = None


class _RestoreReply(msgspec.Struct):
    deliver_subject: str | None = None
    error: _ApiError | None = None


async def read_acknowledged(client: Client) -> dict[str, dict[str, int]]:
    """Return stream → durable consumer → sequence up to which all is acknowledged."""
    jetstream = client.jetstream()
    floors: dict[str, dict[str, int]] = {}
    for stream in STREAMS:
        infos = await jetstream.consumers_info(stream)
        floors[stream] = {
            info.name: info.ack_floor.stream_seq if info.ack_floor else 0
            for info in infos
            if info.config.durable_name
        }
    return floors


async def save_stream(
    client: Client, stream: str, file: Path, acknowledged: dict[str, int]
) -> StreamBackup:
    """Write the stream as it is now, without its consumers, to `file`.

    Raises:
        BackupError: the broker refuses, or ends before the end.
        nats.errors.Error: it does not answer.
    """
    inbox = client.new_inbox()
    chunks = await client.subscribe(inbox, pending_bytes_limit=-1)
    request = {"deliver_subject": inbox, "no_consumers": True, "chunk_size": _CHUNK_BYTES}
    answer = await client.request(
        f"$JS.API.STREAM.SNAPSHOT.{stream}", msgspec.json.encode(request), timeout=_API_SECONDS
    )
    reply = msgspec.json.decode(answer.data, type=_SnapshotReply)
    if reply.error is not None or reply.config is None or reply.state is None:
        reason = reply.error.description if reply.error else "no configuration"
        raise BackupError(f"the broker gives no snapshot of {stream}: {reason}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as output:
        while True:
            chunk = await chunks.next_msg(timeout=_CHUNK_SECONDS)
            if not chunk.data:
                status = (chunk.headers or {}).get("Status", "")
                if status not in ("", "204"):
                    raise BackupError(f"the snapshot of {stream} broke off: {chunk.headers}")
                break
            await asyncio.to_thread(output.write, chunk.data)
            # The server sends some chunks ahead, and the next ones as these are acknowledged.
            if chunk.reply:
                await client.publish(chunk.reply)
    await chunks.unsubscribe()
    return StreamBackup(config=reply.config, state=reply.state, acknowledged=acknowledged)


async def load_stream(client: Client, stream: str, file: Path, backup: StreamBackup) -> None:
    """Make the stream of `file` on a broker that does not have it.

    Raises:
        BackupError: the broker has it, or refuses what is in the file.
    """
    request = {"config": backup.config, "state": backup.state}
    answer = await client.request(
        f"$JS.API.STREAM.RESTORE.{stream}", msgspec.json.encode(request), timeout=_API_SECONDS
    )
    reply = msgspec.json.decode(answer.data, type=_RestoreReply)
    if reply.error is not None or reply.deliver_subject is None:
        reason = reply.error.description if reply.error else "no subject to deliver to"
        raise BackupError(f"the broker does not restore {stream}: {reason}")
    with file.open("rb") as content:
        while chunk := await asyncio.to_thread(content.read, _CHUNK_BYTES):
            await _send(client, reply.deliver_subject, chunk, stream)
    await _send(client, reply.deliver_subject, b"", stream)


async def _send(client: Client, subject: str, chunk: bytes, stream: str) -> None:
    answer = await client.request(subject, chunk, timeout=_CHUNK_SECONDS)
    if answer.data:
        reply = msgspec.json.decode(answer.data, type=_RestoreReply)
        if reply.error is not None:
            raise BackupError(f"the broker does not restore {stream}: {reply.error.description}")


async def make_consumers(
    client: Client, pipeline: PipelineSettings, streams: dict[str, StreamBackup]
) -> None:
    """Make the consumers anew, each after what had been acknowledged before the databases' copy.

    They are new ones to the sensors, whose runs of earlier deliveries do not count for them.
    """
    jetstream = client.jetstream()
    for stream, config in wanted_consumers(pipeline):
        if stream not in streams:
            continue
        start = streams[stream].acknowledged.get(config.durable_name or "", 0) + 1
        await jetstream.add_consumer(stream, _starting_at(config, start))


def _starting_at(config: ConsumerConfig, sequence: int) -> ConsumerConfig:
    return config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=sequence)


async def require_no_streams(client: Client) -> None:
    """Return if the broker has none of the streams. Raises BackupError."""
    for stream in STREAMS:
        try:
            await client.jetstream().stream_info(stream)
        except NotFoundError:
            continue
        raise BackupError(f"the broker has the stream {stream} already")
