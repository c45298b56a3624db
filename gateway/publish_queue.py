"""The bounded queue of events that the broker has not acknowledged yet."""

from collections import deque
from collections.abc import Iterator, KeysView, Sequence

from gateway.outgoing_event import OutgoingEvent


class PublishQueue:
    """Events in order of arrival, waiting to be shipped or in flight to the broker.

    Both count against the bounds, for both are in memory. Where it is full, telemetry that
    waits gives way to the pipeline's events; among these the newest is refused. The
    pipeline's events are also shipped first.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._pipeline: deque[OutgoingEvent] = deque()
        self._telemetry: deque[OutgoingEvent] = deque()
        self._telemetry_bytes = 0
        self._in_flight: dict[int, OutgoingEvent] = {}
        self._total_events = 0
        self._total_bytes = 0

    def __len__(self) -> int:
        """Events waiting or in flight."""
        return self._total_events

    @property
    def size(self) -> int:
        """Bytes of the events waiting or in flight."""
        return self._total_bytes

    @property
    def in_flight_count(self) -> int:
        return len(self._in_flight)

    @property
    def waiting_pipeline_count(self) -> int:
        return len(self._pipeline)

    @property
    def has_waiting(self) -> bool:
        return bool(self._pipeline or self._telemetry)

    def has_room_for(self, events: Sequence[OutgoingEvent]) -> bool:
        """Tell whether the pipeline's `events` could all be added, telemetry giving way."""
        return (
            self._total_events - len(self._telemetry) + len(events) <= self._max_events
            and self._total_bytes - self._telemetry_bytes + sum(each.size for each in events)
            <= self._max_bytes
        )

    def add(self, event: OutgoingEvent, *, must: bool = False) -> tuple[bool, list[OutgoingEvent]]:
        """Queue `event`; return whether there was room, and the telemetry that gave way.

        An event that `must` be queued has room after all telemetry has given way.
        """
        displaced: list[OutgoingEvent] = []
        if not self._has_room_for(event):
            if event.is_telemetry or not (must or self.has_room_for([event])):
                return False, displaced
            while self._telemetry and not self._has_room_for(event):
                displaced.append(self._take_telemetry())
                self._total_events -= 1
                self._total_bytes -= displaced[-1].size
        self._total_events += 1
        self._total_bytes += event.size
        if event.is_telemetry:
            self._telemetry.append(event)
            self._telemetry_bytes += event.size
        else:
            self._pipeline.append(event)
        return True, displaced

    def ship_next(self, now: float) -> OutgoingEvent | None:
        """Take the next event and count it as in flight since `now`; None where none waits."""
        if self._pipeline:
            event = self._pipeline.popleft()
        elif self._telemetry:
            event = self._take_telemetry()
        else:
            return None
        event.sent_at = now
        event.shipments += 1
        self._in_flight[event.sequence] = event
        return event

    def settle(self, sequence: int) -> OutgoingEvent | None:
        """Take the event of `sequence` out of those in flight; None where it is not there.

        It is not there if its acknowledgement comes late, after it was taken back.
        """
        event = self._in_flight.pop(sequence, None)
        if event is not None:
            self._total_events -= 1
            self._total_bytes -= event.size
        return event

    def take_back(self, *, sent_before: float | None = None) -> int:
        """Put events in flight back in front, in their order; return how many.

        `sent_before` limits that to events shipped before this monotonic moment.
        """
        overdue = []
        for event in self._in_flight.values():
            # They stand in the order of shipment.
            if sent_before is not None and event.sent_at >= sent_before:
                break
            overdue.append(event)
        for event in sorted(overdue, key=lambda event: event.sequence, reverse=True):
            del self._in_flight[event.sequence]
            if event.is_telemetry:
                self._telemetry.appendleft(event)
                self._telemetry_bytes += event.size
            else:
                self._pipeline.appendleft(event)
        return len(overdue)

    def take_unspooled(self) -> list[OutgoingEvent]:
        """Take out the pipeline's events that wait and stand in no spool."""
        taken = [event for event in self._pipeline if event.place is None]
        if taken:
            self._pipeline = deque(event for event in self._pipeline if event.place is not None)
            self._total_events -= len(taken)
            self._total_bytes -= sum(event.size for event in taken)
        return taken

    def in_flight_sequences(self) -> KeysView[int]:
        """Return the numbers of the events in flight."""
        return self._in_flight.keys()

    def oldest_in_flight(self) -> OutgoingEvent | None:
        """Return the event in flight that was shipped first."""
        return next(iter(self._in_flight.values()), None)

    def take_all(self) -> Iterator[OutgoingEvent]:
        """Empty the queue."""
        self.take_back()
        while self._pipeline:
            yield self._pipeline.popleft()
        while self._telemetry:
            yield self._take_telemetry()
        self._total_events = self._total_bytes = 0

    def _take_telemetry(self) -> OutgoingEvent:
        event = self._telemetry.popleft()
        self._telemetry_bytes -= event.size
        return event

    def _has_room_for(self, event: OutgoingEvent) -> bool:
        return (
            self._total_events < self._max_events
            and self._total_bytes + event.size <= self._max_bytes
        )
