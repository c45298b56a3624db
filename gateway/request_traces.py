"""The traces of requests, written down when a request is over.

Attributes are those of OpenTelemetry's semantic conventions for HTTP and generative AI,
https://opentelemetry.io/docs/specs/semconv/gen-ai/, and `sluice.*`.
"""

from time import perf_counter

from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from contracts.payloads import FlowStage
from contracts.tracing.trace_context import TraceContext, outgoing_traceparent
from contracts.tracing.tracing import CLIENT, INTERNAL, SERVER, SpanRecord, Tracing
from gateway.request_context import CLIENT_CLOSED_REQUEST, RequestContext, RequestTrace

_TRACED = "/v1/"
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
    "/v1/embeddings": "embeddings",
}
_LONGEST_PATH = 256
_BACKEND_STAGE = "backend"
_EMBED_STAGE = "embed"
_FIRST_TOKEN = "gen_ai.first_token"  # noqa: S105 - an event's name


class RequestTraces:
    """Begins and ends the trace of each request to the APIs."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def begin(self, scope: Scope, context: RequestContext) -> None:
        """Give the request a span, which all that it leads to will belong to."""
        if not scope["path"].startswith(_TRACED):
            return
        parent = TraceContext.parse(context.traceparent)
        own = self._tracing.begin(parent)
        if own is None:
            return
        context.trace = RequestTrace(own, parent, own.child(), own.child())
        context.traceparent = own.traceparent
        outgoing_traceparent.set(context.trace.embed.traceparent)

    def end(self, scope: Scope, context: RequestContext) -> None:
        """Record the request's span, and one for each of its stages."""
        trace = context.trace
        if trace is None:
            return
        start = int(context.started_at.timestamp() * 1e9)
        end = start + int((perf_counter() - context.started) * 1e9)
        status = context.response_status or CLIENT_CLOSED_REQUEST
        route = _route_of(scope["path"])
        attributes = _request_attributes(scope, context, route, status)
        error = None if status < 500 else f"status {status}"
        if context.call_status == "failed" and error is None:
            error = "the call failed"
        self._tracing.record(
            SpanRecord(
                name=f"{scope['method']} {route}",
                context=trace.own,
                parent=trace.parent,
                start=start,
                end=end,
                kind=SERVER,
                attributes=attributes,
                error=error,
            )
        )
        for stage in trace.stages:
            self._tracing.record(_stage_span(stage, scope, context, trace, start))


def _stage_span(
    stage: FlowStage, scope: Scope, context: RequestContext, trace: RequestTrace, start: int
) -> SpanRecord:
    begun = start + int(stage.offset_seconds * 1e9)
    name, kind, span = stage.name, INTERNAL, trace.own.child()
    attributes: dict[str, AttributeValue] = {
        f"sluice.{key}": value
        for key, value in stage.details.items()
        if isinstance(value, str | int | float | bool)
    }
    events: list[tuple[str, int]] = []
    if stage.name == _EMBED_STAGE:
        kind, span = CLIENT, trace.embed
    elif stage.name == _BACKEND_STAGE:
        kind, span = CLIENT, trace.backend
        name = f"{_OPERATIONS.get(scope['path'], 'call')} {context.model}"
        attributes |= _gen_ai_attributes(scope, context)
        if trace.first_token_seconds is not None:
            events.append((_FIRST_TOKEN, start + int(trace.first_token_seconds * 1e9)))
    is_failed = stage.status not in ("ok", "cancelled")
    return SpanRecord(
        name=name,
        context=span,
        parent=trace.own,
        start=begun,
        end=begun + int(stage.duration_seconds * 1e9),
        kind=kind,
        attributes=attributes,
        events=events,
        error=str(stage.details.get("error", stage.status)) if is_failed else None,
    )


def _route_of(path: str) -> str:
    """Return the path without what a client puts into it, which would make names without end."""
    return path if path in _OPERATIONS else "/".join(path.split("/")[:3])


def _request_attributes(
    scope: Scope, context: RequestContext, route: str, status: int
) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "http.request.method": scope["method"],
        "http.route": route,
        "url.path": scope["path"][:_LONGEST_PATH],
        "http.response.status_code": status,
        "sluice.correlation_id": context.correlation_id,
    }
    if context.grant is not None:
        attributes["sluice.api_key_name"] = context.grant.key_name
    if context.call_status is not None:
        attributes["sluice.call_status"] = context.call_status
    return attributes | _gen_ai_attributes(scope, context)


def _gen_ai_attributes(scope: Scope, context: RequestContext) -> dict[str, AttributeValue]:
    if context.model is None:
        return {}
    attributes: dict[str, AttributeValue] = {"gen_ai.request.model": context.model}
    if (operation := _OPERATIONS.get(scope["path"])) is not None:
        attributes["gen_ai.operation.name"] = operation
    if context.backend is not None:
        attributes["gen_ai.provider.name"] = context.backend
        attributes["sluice.backend"] = context.backend
    if context.usage.prompt_tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = context.usage.prompt_tokens
    if context.usage.completion_tokens is not None:
        attributes["gen_ai.usage.output_tokens"] = context.usage.completion_tokens
    return attributes
