"""The load: so many calls a second, whatever becomes of them, all in the history."""

import asyncio
import time
from collections.abc import Iterator

import aiohttp
import psycopg

from tests.faults.calls import Call
from tests.faults.client import new_session, send
from tests.faults.history import Ended, HistoryFile, Invoked, Observation, Persisted
from tests.faults.rows import persisted_among
from tests.faults.topology import ThreeHosts

_MOST_IN_FLIGHT = 400
"""While the gateway hangs, more calls would say nothing new."""
_WATCH_SECONDS = 3.0
_DROPPED = "sluice_gateway_events_dropped_total{"
_TELEMETRY = 'subject="telemetry.'


class Load:
    """Sends the calls of a run until told to stop, and watches for their rows."""

    def __init__(
        self, platform: ThreeHosts, history: HistoryFile, calls: Iterator[Call], *, rate: float
    ) -> None:
        """
        Args:
            rate: calls a second.
        """
        self._platform = platform
        self._history = history
        self._calls = calls
        self._rate = rate
        self._in_flight: set[asyncio.Task[None]] = set()
        self._unseen: dict[str, str] = {}
        """Answered calls whose row was not seen yet: correlation ID → kind."""
        self._is_stopping = asyncio.Event()
        self.sent = 0

    @property
    def unseen(self) -> int:
        """Answered calls whose row was not seen yet."""
        return len(self._unseen)

    async def run(self) -> None:
        """Send until `stop` is called, then wait for the calls in flight."""
        async with new_session(self._platform.api_key) as session:
            started = time.monotonic()
            while not self._is_stopping.is_set():
                due = int((time.monotonic() - started) * self._rate) - self.sent
                for _call in range(max(0, due)):
                    self.sent += 1
                    if len(self._in_flight) < _MOST_IN_FLIGHT:
                        self._begin(session, next(self._calls))
                await asyncio.sleep(0.5 / self._rate)
            await asyncio.gather(*self._in_flight)

    def stop(self) -> None:
        self._is_stopping.set()

    async def watch(self) -> None:
        """Note the rows that come, and what the gateway says it dropped, until cancelled."""
        async with new_session(self._platform.api_key, seconds=2) as session:
            while True:
                await asyncio.sleep(_WATCH_SECONDS)
                await self.look_for_rows()
                await self._look_for_drops(session)

    async def look_for_rows(self) -> None:
        """Note the rows that came since the last look."""
        if not self._unseen:
            return
        url, wanted = self._platform.database_url, dict(self._unseen)
        try:
            found = await asyncio.to_thread(persisted_among, url, wanted)
        except psycopg.Error:
            return  # It is being killed, cut off or full; the next look will tell.
        for correlation_id in found:
            del self._unseen[correlation_id]
            self._history.append(Persisted, correlation_id=correlation_id)

    async def _look_for_drops(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(f"{self._platform.gateway_url}/metrics") as reply:
                metrics = await reply.text()
        except (aiohttp.ClientError, TimeoutError):
            return
        for line in metrics.splitlines():
            if line.startswith(_DROPPED):
                name, _, value = line.rpartition(" ")
                what = "telemetry dropped" if _TELEMETRY in name else "dropped"
                self._history.append(Observation, what=f"{what} {name}", value=float(value))

    def _begin(self, session: aiohttp.ClientSession, call: Call) -> None:
        self._history.append(
            Invoked, correlation_id=call.correlation_id, kind=call.kind, request=call.description
        )
        task = asyncio.create_task(self._finish(session, call))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _finish(self, session: aiohttp.ClientSession, call: Call) -> None:
        ended = await send(session, self._platform.gateway_url, call)
        self._history.append(Ended, correlation_id=call.correlation_id, **ended)
        if ended["outcome"] == "ok":
            self._unseen[call.correlation_id] = call.kind
