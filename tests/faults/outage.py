"""What the design's hosts live through: observability cut off, the other two shut down and back."""

import asyncio
from dataclasses import dataclass

from tests.faults.history import HistoryFile
from tests.faults.host_settings import COMPUTE, DESKTOP, STORAGE
from tests.faults.network_faults import HostStop, Unplug
from tests.faults.telemetry_reader import TelemetryReport, read_report
from tests.faults.topology import ThreeHosts
from tests.support.broker import stream_states

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Outages:
    """The storage host cut off and back, then desktop and compute host stopped and started."""

    cut_seconds: float
    down_seconds: float

    async def inflict(self, platform: ThreeHosts, history: HistoryFile) -> None:
        """Have the platform suffer them, one after the other."""
        await Unplug(STORAGE, self.cut_seconds).inflict(platform, history)
        hosts = (DESKTOP, COMPUTE)
        stops = [HostStop(host, self.down_seconds) for host in hosts]
        await asyncio.gather(*(stop.inflict(platform, history) for stop in stops))
        await asyncio.gather(*(platform.start_host(host) for host in hosts))


async def read_all_telemetry(platform: ThreeHosts, *, seconds: float) -> TelemetryReport:
    """Wait until the reader is at the end of the stream, and return what it has counted.

    Raises:
        TimeoutError: it did not get there in time.
    """
    async with asyncio.timeout(seconds):
        while True:
            states = await asyncio.to_thread(stream_states, platform.broker_url)
            report = read_report(platform.telemetry_report)
            if report.last_sequence == states["TELEMETRY"].state.last_seq:
                return report
            await asyncio.sleep(_POLL_SECONDS)
