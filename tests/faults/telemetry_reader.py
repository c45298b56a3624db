"""Reads the stream TELEMETRY in Vector's place: `python -m tests.faults.telemetry_reader URL FILE`.

It uses the durable consumer that the platform makes for Vector, and that consumer's user. Figures
that the stream had to discard before they were read show as a gap in its sequence numbers.
"""

import asyncio
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import nats
import nats.errors

from contracts.streams import TELEMETRY, TELEMETRY_CONSUMER

_BATCH = 500
_RETRY_SECONDS = 0.5


@dataclass
class TelemetryReport:
    """What was read so far."""

    received: int = 0
    missed: int = 0
    """Figures that were discarded unread."""
    gaps: int = 0
    redelivered: int = 0
    last_sequence: int = 0
    disconnections: int = 0

    def note(self, sequence: int) -> None:
        """Count one message by its place in the stream."""
        if sequence <= self.last_sequence:
            self.redelivered += 1
            return
        jumped = sequence - self.last_sequence - 1
        self.missed += jumped
        self.gaps += jumped > 0
        self.received += 1
        self.last_sequence = sequence


def read_report(file: Path) -> TelemetryReport:
    """Read what the process has written last."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=TelemetryReport)
    except FileNotFoundError:
        return TelemetryReport()


async def read_telemetry(url: str, file: Path) -> None:
    """Read for ever; connect again whenever the broker is gone."""
    report = read_report(file)
    while True:
        try:
            await _read(url, report, file)
        except (nats.errors.Error, OSError, TimeoutError):
            report.disconnections += 1
            _write(report, file)
            await asyncio.sleep(_RETRY_SECONDS)


async def _read(url: str, report: TelemetryReport, file: Path) -> None:
    client = await nats.connect(
        url, connect_timeout=2, allow_reconnect=False, ping_interval=2, max_outstanding_pings=2
    )
    try:
        subscription = await client.jetstream().pull_subscribe_bind(
            durable=TELEMETRY_CONSUMER, stream=TELEMETRY
        )
        while True:
            try:
                messages = await subscription.fetch(_BATCH, timeout=1)
            except nats.errors.TimeoutError:
                if not client.is_connected:
                    return
                continue
            for message in messages:
                report.note(message.metadata.sequence.stream)
                await message.ack()
            _write(report, file)
    finally:
        await client.close()


def _write(report: TelemetryReport, file: Path) -> None:
    fresh = file.with_suffix(".fresh")
    fresh.write_bytes(msgspec.json.encode(asdict(report)))
    fresh.replace(file)


if __name__ == "__main__":
    asyncio.run(read_telemetry(sys.argv[1], Path(sys.argv[2])))
