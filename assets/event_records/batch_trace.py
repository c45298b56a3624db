"""The trace of a run's batch: one span, with links to the traces that its events come from."""

from collections.abc import AsyncIterator, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING

from contracts.headers import TRACEPARENT
from contracts.settings import load_settings
from contracts.tracing.opening import open_tracing
from contracts.tracing.trace_context import TraceContext
from resources.batch_messages import StreamMessage

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing

MOST_LINKS = 128
"""The standard's own limit for a span: https://opentelemetry.io/docs/specs/otel/trace/sdk/."""
_CLOSE_SECONDS = 3.0


class BatchTrace:
    """Notes which traces a batch's events belong to, and records the batch's span."""

    def __init__(self, tracing: "Tracing", run_id: str, asset_name: str) -> None:
        self._tracing = tracing
        self._run_id = run_id
        self._asset_name = asset_name
        self._start = time_ns()
        self._linked: dict[int, TraceContext] = {}
        self._traced_events = 0

    async def watch(
        self, pages: AsyncIterator[Sequence[StreamMessage]]
    ) -> AsyncIterator[Sequence[StreamMessage]]:
        """Pass on `pages`, and note the traces of their messages."""
        async for page in pages:
            for message in page:
                self._note(message.headers.get(TRACEPARENT))
            yield page

    def finish(self, figures: Mapping[str, int], *, error: str | None = None) -> None:
        """Record the span, where an event of the batch was traced, and ship it.

        Waits for a collector that does not answer for three seconds at most.
        """
        from contracts.tracing.tracing import CONSUMER, SpanRecord

        if self._linked:
            attributes: dict[str, str | int] = {
                "dagster.run_id": self._run_id,
                "dagster.asset": self._asset_name,
                "messaging.system": "nats",
                "messaging.operation.type": "process",
                "sluice.traced_events": self._traced_events,
                **{f"sluice.{name}": value for name, value in figures.items()},
            }
            self._tracing.record(
                SpanRecord(
                    name=f"persist {self._asset_name}",
                    context=TraceContext.new(is_sampled=True),
                    parent=None,
                    start=self._start,
                    end=time_ns(),
                    kind=CONSUMER,
                    attributes=attributes,
                    links=list(self._linked.values()),
                    error=error,
                )
            )
        self._tracing.close(_CLOSE_SECONDS)

    def _note(self, traceparent: str | None) -> None:
        context = TraceContext.parse(traceparent)
        if context is None or not context.is_sampled:
            return
        self._traced_events += 1
        if len(self._linked) < MOST_LINKS:
            # One link for a request: its events carry the same span.
            self._linked.setdefault(context.span_id, context)


def open_batch_trace(run_id: str, asset_name: str) -> BatchTrace | None:
    """Return what traces a batch, or None where tracing is not configured. Raises TracingError."""
    tracing = open_tracing(load_settings().telemetry, "sluice-dagster")
    return None if tracing is None else BatchTrace(tracing, run_id, asset_name)
