"""Ships events to JetStream in the background; the request path never waits for the broker."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from time import monotonic, time_ns
from typing import Any

import msgspec
import structlog
from nats.errors import Error as NatsError

from contracts.broker_access import BrokerAccess
from contracts.events import Event, encode_event
from contracts.headers import CORRELATION_ID, NATS_MESSAGE_ID, TRACEPARENT
from contracts.subjects import Subject
from gateway.acknowledged_client import AcknowledgedClient, encode_publish
from gateway.dropped_events import DroppedEvents
from gateway.ending import end_tasks
from gateway.outgoing_event import OutgoingEvent
from gateway.publish_batches import COMMITS_IN_FLIGHT, encode_batch, split_into_shipments
from gateway.publish_queue import PublishQueue
from gateway.spool.spool import Spool

INBOX_PREFIX = "_INBOX_gateway"
"""The gateway's broker user may subscribe below this prefix and nowhere else."""

_WINDOW_EVENTS = 3000
_BURST_EVENTS = 800
"""Shipped at one go: draining a long queue must not hold up requests, and a batch that is larger
than 1,000 is refused. With 256 a busy event loop came to it too seldom, and the queue grew."""
_GATHERING_SECONDS = 0.002
_ACK_TIMEOUT_SECONDS = 5.0
_BACKOFF_SECONDS = 0.5
_TENDING_SECONDS = 1.0
_BATCH_HEADER_BYTES = 256
_BATCHES_DISABLED = 10174
_MESSAGE_TOO_LARGE = 10054
"""JetStream's error code where a message is over the stream's own limit."""

_log = structlog.get_logger("gateway.publisher")


class _AckError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct):
    error: _AckError | None = None
    count: int | None = None
    """Messages of a committed batch."""


_ack_decoder = msgspec.json.Decoder(_Ack)


class EventPublisher:
    """A spool, a bounded queue, and the task that empties them into the broker.

    `publish_all` returns once the pipeline's events stand in the spool; telemetry is in memory
    only. The task connects for as long as it takes, keeps up to a window of unacknowledged
    events in flight, and ships again what was not acknowledged in time or was in flight when
    the connection broke: the broker recognises the event ID, so that an event shipped twice is
    one message. What the queue has no room for is read back from the spool in its turn.
    """

    def __init__(
        self, broker: str | BrokerAccess, spool: Spool, *, max_events: int, max_bytes: int
    ) -> None:
        """
        Args:
            spool: not yet open.
            max_events: of those in memory; what is read back at one go may exceed it.
            max_bytes: likewise.
        """
        self._broker = BrokerAccess.of(broker)
        self.spool = spool
        self._queue = PublishQueue(max_events=max_events, max_bytes=max_bytes)
        self._next_sequence = 0
        self._client: AcknowledgedClient | None = None
        self._reply_prefix = b""
        self._wakeup = asyncio.Event()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._may_ship_after = 0.0
        self._is_window_full = False
        self._may_batch = True
        self._batches: dict[int, list[int]] = {}
        """Batches in flight: the number of the commit, and those of all events."""
        self._tasks: list[asyncio.Task[None]] = []
        self._last_error = ""
        self._dropped = DroppedEvents()
        self.shipped: Counter[str] = Counter()
        """Acknowledged events by subject."""

    @property
    def dropped(self) -> Counter[tuple[str, str]]:
        """Lost events by subject and reason."""
        return self._dropped.counts

    @property
    def waiting_events(self) -> int:
        """Events that the broker has not acknowledged yet.

        Of a file that an earlier process left, at least one is counted until it is read.
        """
        return len(self._queue) + self.spool.unread_events

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the events in memory."""
        return self._queue.size

    @property
    def is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    @property
    def last_error(self) -> str:
        """Why the broker is not connected, as far as is known."""
        return self._last_error

    def start(self) -> None:
        """Open the spool, and begin to connect and ship in the background."""
        self.spool.open()
        self._note_backlog()
        self._tasks = [
            asyncio.create_task(self._run(), name="event-publisher"),
            asyncio.create_task(self._tend(), name="event-spool"),
        ]

    def publish(self, subject: Subject, event: Event[Any]) -> bool:
        """`publish_all` of one event."""
        return self.publish_all([(subject, event)])

    def publish_all(self, events: Sequence[tuple[Subject, Event[Any]]]) -> bool:
        """Spool and queue the events of one request; return False if one of them was dropped.

        The pipeline's events are written by one system call. Where the spool cannot be
        written, they are in memory like telemetry, until that is full.
        """
        outgoing = [self._encode(subject, event) for subject, event in events]
        pipeline = [event for event in outgoing if not event.is_telemetry]
        is_kept = not pipeline or self._publish_pipeline(pipeline)
        for event in outgoing:
            if event.is_telemetry:
                is_kept &= self._enqueue(event)
        self._is_idle.clear()
        self._wakeup.set()
        return is_kept

    def _encode(self, subject: Subject, event: Event[Any]) -> OutgoingEvent:
        sequence = self._next_sequence
        self._next_sequence += 1
        return OutgoingEvent(sequence, subject, _encode_headers(event), encode_event(event))

    def _publish_pipeline(self, events: list[OutgoingEvent]) -> bool:
        is_queued = self.spool.is_caught_up and self._queue.has_room_for(events)
        if self.spool.append(events, hand_over=is_queued) and not is_queued:
            return True
        is_kept = True
        for event in events:
            is_kept &= self._enqueue(event)
        return is_kept

    def _enqueue(self, event: OutgoingEvent, *, must: bool = False) -> bool:
        is_queued, displaced = self._queue.add(event, must=must)
        for telemetry in displaced:
            self._dropped.add(telemetry, "queue_full")
        if not is_queued:
            self._dropped.add(event, "queue_full")
        return is_queued

    async def measure_latency(self, timeout_seconds: float) -> float:
        """Return the seconds of one round trip to the broker.

        Raises:
            ConnectionError: the broker is not connected.
            TimeoutError: it did not answer in time.
        """
        client = self._client
        if client is None or not client.is_connected:
            raise ConnectionError(self._last_error or "not connected yet")
        started = monotonic()
        async with asyncio.timeout(timeout_seconds):
            await client.rtt()
        return monotonic() - started

    async def stop(self, timeout_seconds: float) -> int:
        """Ship what waits within the time, then disconnect; return how many events were lost.

        The pipeline's events that could not be shipped stay in the spool, and are no loss.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_idle.wait()
        except TimeoutError:
            _log.warning("the broker did not take all events in time", waiting=self.waiting_events)
        await end_tasks(self._tasks)
        await self._disconnect()
        self._take_back()
        self._spool_what_is_in_memory_alone()
        waiting, lost = self.waiting_events, 0
        for event in self._queue.take_all():
            if event.place is None:
                self._dropped.add(event, "shutdown")
                lost += 1
        self._dropped.log()
        if waiting > lost:
            _log.info("events stay in the spool", events=waiting - lost)
        self.spool.close()
        return lost

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(_TENDING_SECONDS)
            try:
                await self.spool.tend()
                self._spool_what_is_in_memory_alone()
            except Exception:  # noqa: BLE001 - logged with its traceback
                # Without this task the spool would not be cleared of what was shipped.
                _log.exception("tending the spool failed")
            self._note_backlog()

    def _spool_what_is_in_memory_alone(self) -> None:
        events = self._queue.take_unspooled()
        if events and not self.spool.append(events, hand_over=False):
            for event in events:
                self._enqueue(event, must=True)

    def _note_backlog(self) -> None:
        if self.spool.has_unread:
            self._is_idle.clear()
            self._wakeup.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._connect()
                await self._ship()
            except (NatsError, OSError, TimeoutError) as error:
                self._note_error(error)
            except Exception:  # noqa: BLE001 - logged with its traceback
                # Without this task no event would ever be shipped again.
                _log.exception("publishing failed", waiting=self.waiting_events)
            await self._disconnect()
            self._take_back()
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _connect(self) -> None:
        self._client = client = AcknowledgedClient()
        await client.connect_to(
            self._broker,
            name="sluice-gateway",
            inbox_prefix=INBOX_PREFIX,
            # -1: nats-py gives up after 60 attempts otherwise.
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            connect_timeout=2,
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_connect,
        )
        self._reply_prefix = await client.open_ack_inbox(self._on_ack)
        await self._on_connect()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is None or client.is_closed:
            return
        try:
            async with asyncio.timeout(1):
                await client.close()
        except (NatsError, OSError, TimeoutError) as error:
            self._note_error(error)

    async def _ship(self) -> None:
        """Ship events until the connection is closed for good."""
        client = self._client
        while client is not None and not client.is_closed:
            await self._wait_for_work()
            # One gathering for many requests costs one wake-up and one write to the socket.
            await asyncio.sleep(_GATHERING_SECONDS)
            await self._read_back()
            now = monotonic()
            self._take_back_overdue(now)
            events = self._take_burst(client, now)
            commands: list[bytes] = []
            for shipment in split_into_shipments(events, may_batch=self._may_batch):
                commands += self._encode_shipment(shipment)
            self._is_window_full = self._is_window_reached()
            if commands:
                await client.send_publishes(commands)

    async def _read_back(self) -> None:
        """Bring the next events that are in the spool alone into memory."""
        while (
            self.spool.has_unread
            and self._queue.waiting_pipeline_count < _BURST_EVENTS
            and self._may_ship(monotonic())
        ):
            for place, stored in await self.spool.read():
                event = OutgoingEvent(
                    self._next_sequence, stored.subject, stored.headers, stored.body, place
                )
                self._next_sequence += 1
                self._enqueue(event, must=True)
            # Nothing may have come of it but damaged bytes.
            self._note_progress()

    def _take_burst(self, client: AcknowledgedClient, now: float) -> list[OutgoingEvent]:
        events: list[OutgoingEvent] = []
        while len(events) < _BURST_EVENTS and self._may_ship(now):
            event = self._queue.ship_next(now)
            if event is None:
                break
            if len(event.headers) + len(event.body) > client.max_payload - _BATCH_HEADER_BYTES:
                self._give_up(event.sequence, "too_large")
            else:
                events.append(event)
        return events

    def _encode_shipment(self, events: list[OutgoingEvent]) -> list[bytes]:
        last = events[-1]
        reply = self._reply_prefix + str(last.sequence).encode()
        if len(events) == 1:
            return [encode_publish(last.subject, reply, last.headers, last.body)]
        self._batches[last.sequence] = [event.sequence for event in events]
        return encode_batch(events, reply)

    def _may_ship(self, now: float) -> bool:
        return self.is_connected and now >= self._may_ship_after and not self._is_window_reached()

    def _is_window_reached(self) -> bool:
        return (
            self._queue.in_flight_count >= _WINDOW_EVENTS or len(self._batches) >= COMMITS_IN_FLIGHT
        )

    async def _wait_for_work(self) -> None:
        """Return when there is something to ship, or an acknowledgement is overdue."""
        self._wakeup.clear()
        now = monotonic()
        deadlines = []
        if self._queue.has_waiting or self.spool.has_unread:
            if self._may_ship(now):
                return
            if now < self._may_ship_after:
                deadlines.append(self._may_ship_after)
        oldest = self._queue.oldest_in_flight()
        if oldest is not None:
            deadlines.append(oldest.sent_at + _ACK_TIMEOUT_SECONDS)
        timeout = max(0.0, min(deadlines) - now) if deadlines else None
        try:
            async with asyncio.timeout(timeout):
                await self._wakeup.wait()
        except TimeoutError:
            return

    def _on_ack(self, sequence: int, body: bytes, has_headers: bool) -> None:
        batch = self._batches.pop(sequence, None)
        if batch is not None and not has_headers:
            self._on_commit(batch, body)
            return
        if not has_headers and b'"error"' not in body:
            self._settle_shipped(sequence)
            return
        if has_headers:
            # 503: no stream listens to this subject, or JetStream is not up yet.
            self._ship_again_later("no stream takes the subject")
            return
        try:
            ack = _ack_decoder.decode(body)
        except msgspec.DecodeError:
            self._ship_again_later("the acknowledgement is not readable")
            return
        if ack.error is None:
            self._settle_shipped(sequence)
        elif ack.error.err_code == _MESSAGE_TOO_LARGE:
            self._give_up(sequence, "too_large")
        else:
            self._ship_again_later(ack.error.description)

    def _on_commit(self, batch: list[int], body: bytes) -> None:
        try:
            ack = _ack_decoder.decode(body)
        except msgspec.DecodeError:
            ack = _Ack()
        if ack.error is None and ack.count == len(batch):
            for sequence in batch:
                self._note_shipped(sequence)
            self._note_progress()
            return
        if ack.error is None or ack.error.err_code == _BATCHES_DISABLED:
            # A broker before 2.12, or a stream that does not allow batches.
            self._may_batch = False
        _log.info(
            "the broker refused a batch; its events are shipped one by one",
            events=len(batch),
            reason="no batches" if ack.error is None else ack.error.description,
        )
        self._take_back()
        self._wakeup.set()

    def _take_back_overdue(self, now: float) -> None:
        if self._queue.take_back(sent_before=now - _ACK_TIMEOUT_SECONDS):
            in_flight = self._queue.in_flight_sequences()
            self._batches = {
                commit: batch for commit, batch in self._batches.items() if commit in in_flight
            }

    def _take_back(self) -> None:
        self._batches.clear()
        self._queue.take_back()

    def _settle_shipped(self, sequence: int) -> None:
        self._note_shipped(sequence)
        self._note_progress()

    def _note_shipped(self, sequence: int) -> None:
        event = self._queue.settle(sequence)
        if event is not None:
            self.shipped[event.subject] += 1
            if event.place is not None:
                self.spool.settle(event.place)

    def _give_up(self, sequence: int, reason: str) -> None:
        event = self._queue.settle(sequence)
        if event is not None:
            self._dropped.add(event, reason)
            if event.place is not None:
                kept = self.spool.keep_aside(f"{time_ns()}.{reason}", event.headers + event.body)
                _log.error("an event that cannot be shipped was put aside", file=str(kept))
                self.spool.settle(event.place)
            self._note_progress()

    def _note_progress(self) -> None:
        if not self._queue and not self.spool.has_unread:
            self._is_idle.set()
        elif (
            self._is_window_full
            and self._queue.in_flight_count <= _WINDOW_EVENTS // 2
            and len(self._batches) < COMMITS_IN_FLIGHT
        ):
            self._is_window_full = False
            self._wakeup.set()

    def _ship_again_later(self, reason: str) -> None:
        """Take all events in flight back: they follow the refused one, in their order."""
        now = monotonic()
        if now >= self._may_ship_after:
            self._last_error = reason
            _log.warning("the broker refused an event", reason=reason)
        self._may_ship_after = now + _BACKOFF_SECONDS
        self._take_back()
        self._wakeup.set()

    async def _on_connect(self) -> None:
        self._last_error = ""
        self._may_ship_after = 0.0
        self._may_batch = True
        self._wakeup.set()
        _log.info("connected to the broker", waiting=self.waiting_events)

    async def _on_disconnect(self) -> None:
        self._take_back()
        self._wakeup.set()
        _log.warning("disconnected from the broker", waiting=self.waiting_events)

    async def _on_error(self, error: Exception) -> None:
        self._note_error(error)

    def _note_error(self, error: Exception) -> None:
        description = str(error) or type(error).__name__
        if description != self._last_error:
            self._last_error = description
            _log.warning("broker", error=description, waiting=self.waiting_events)


def _encode_headers(event: Event[Any]) -> bytes:
    """Return the NATS header block of an event; its fields are printable ASCII."""
    more = "" if event.traceparent is None else f"{TRACEPARENT}: {event.traceparent}\r\n"
    return (
        f"NATS/1.0\r\n{NATS_MESSAGE_ID}: {event.event_id}\r\n"
        f"{CORRELATION_ID}: {event.correlation_id}\r\n{more}\r\n"
    ).encode("ascii")
