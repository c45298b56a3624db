"""Records spans by OpenTelemetry's SDK. Imported only where tracing is configured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, time_ns

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from contracts.settings import TelemetrySettings
from contracts.tracing.span_queue import SpanQueue
from contracts.tracing.trace_context import TraceContext

SERVER = SpanKind.SERVER
CLIENT = SpanKind.CLIENT
INTERNAL = SpanKind.INTERNAL
CONSUMER = SpanKind.CONSUMER

_UNNAMED = "unknown_service"
_SCOPE = InstrumentationScope("sluice")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """A span that is over."""

    name: str
    context: TraceContext
    parent: TraceContext | None
    start: int
    """Nanoseconds since 1970, like `end`."""
    end: int
    kind: SpanKind = INTERNAL
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    events: Sequence[tuple[str, int]] = ()
    """Name and moment."""
    links: Sequence[TraceContext] = ()
    error: str | None = None


class Tracing:
    """Decides what is traced, and ships the spans of this process."""

    def __init__(self, settings: TelemetrySettings, service: str) -> None:
        endpoint = settings.traces_endpoint
        # Without an endpoint of the settings, the exporter reads OTEL_EXPORTER_OTLP_… itself.
        self._queue = SpanQueue(OTLPSpanExporter(endpoint=endpoint))
        self._sampler = TraceIdRatioBased(settings.trace_ratio)
        self._resource = _resource_of(service)

    @property
    def counts(self) -> Mapping[str, int]:
        """Spans by what became of them."""
        return self._queue.counts

    def begin(self, parent: TraceContext | None) -> TraceContext | None:
        """Return the new span of a call, or None where it is not to be traced.

        A caller that traces decides; of the others' calls, the setting's share is traced.
        """
        if parent is not None:
            return parent.child() if parent.is_sampled else None
        new = TraceContext.new(is_sampled=True)
        decision = self._sampler.should_sample(None, new.trace_id, "").decision
        return new if decision is Decision.RECORD_AND_SAMPLE else None

    def record(self, span: SpanRecord) -> None:
        """Have `span` shipped. Never waits."""
        status = Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR, span.error)
        self._queue.put(
            ReadableSpan(
                span.name,
                _sdk_context(span.context, is_remote=False),
                None if span.parent is None else _sdk_context(span.parent, is_remote=True),
                self._resource,
                dict(span.attributes),
                [Event(name, timestamp=moment) for name, moment in span.events],
                [Link(_sdk_context(each, is_remote=True)) for each in span.links],
                span.kind,
                status=status,
                start_time=span.start,
                end_time=span.end,
                instrumentation_scope=_SCOPE,
            )
        )

    def record_served_call(
        self,
        name: str,
        traceparent: str | None,
        started: float,
        attributes: Mapping[str, AttributeValue],
        *,
        error: str | None = None,
    ) -> None:
        """Record a call that a server has just answered.

        Args:
            traceparent: as the caller sent it.
            started: of `perf_counter`.
        """
        parent = TraceContext.parse(traceparent)
        context = self.begin(parent)
        if context is None:
            return
        end = time_ns()
        start = end - int((perf_counter() - started) * 1e9)
        self.record(
            SpanRecord(
                name=name,
                context=context,
                parent=parent,
                start=start,
                end=end,
                kind=SERVER,
                attributes=attributes,
                error=error,
            )
        )

    def close(self, timeout_seconds: float) -> None:
        """Ship what waits within the time."""
        self._queue.close(timeout_seconds)


def _resource_of(service: str) -> Resource:
    """Return what the environment says of this process, with a name in any case."""
    resource = Resource.create({"service.namespace": "sluice"})
    name = resource.attributes.get("service.name")
    if isinstance(name, str) and not name.startswith(_UNNAMED):
        return resource
    return resource.merge(Resource({"service.name": service}))


def _sdk_context(context: TraceContext, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    return SpanContext(context.trace_id, context.span_id, is_remote, flags)
