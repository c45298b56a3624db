"""Spans on their way to the collector: in a thread, bounded, and never at anyone's cost."""

import threading
from collections import Counter, deque
from time import monotonic

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

EXPORTED = "exported"
QUEUE_FULL = "queue_full"
EXPORT_FAILED = "export_failed"
SHUTDOWN = "shutdown"

_MOST_WAITING = 4096
_BATCH = 512
_INTERVAL_SECONDS = 1.0


class SpanQueue:
    """Ships spans in batches; what there is no room for, or no collector, is dropped and counted.

    The SDK's own processor drops too, and does not tell how many.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._waiting: deque[ReadableSpan] = deque()
        self._wakeup = threading.Event()
        self._is_closing = False
        self.counts: Counter[str] = Counter()
        """Spans by what became of them."""
        self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
        self._thread.start()

    def put(self, span: ReadableSpan) -> None:
        """Take `span`, or drop it where the queue is full. Never waits."""
        if len(self._waiting) >= _MOST_WAITING:
            self.counts[QUEUE_FULL] += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= _BATCH:
            self._wakeup.set()

    def close(self, timeout_seconds: float) -> None:
        """Ship what waits within the time; what cannot be shipped is dropped."""
        deadline = monotonic() + timeout_seconds
        self._is_closing = True
        self._wakeup.set()
        self._thread.join(timeout_seconds)
        # Ends a retry that is under way.
        self._exporter.shutdown()
        self._thread.join(max(0.0, deadline - monotonic()))
        self.counts[SHUTDOWN] += len(self._waiting)
        self._waiting.clear()

    def _run(self) -> None:
        while not (self._is_closing and not self._waiting):
            self._wakeup.wait(_INTERVAL_SECONDS)
            if not self._is_closing:
                self._wakeup.clear()
            while batch := self._take_batch():
                result = self._exporter.export(batch)
                is_whole = result is SpanExportResult.SUCCESS
                self.counts[EXPORTED if is_whole else EXPORT_FAILED] += len(batch)

    def _take_batch(self) -> list[ReadableSpan]:
        return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
