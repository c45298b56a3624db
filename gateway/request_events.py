"""Makes the events of a request: its correlation, its caller, and no more content than allowed."""

from typing import TypeVar

from contracts.events import Event, new_event
from contracts.payloads import Payload
from gateway.access.content import withhold_content
from gateway.request_context import RequestContext

P = TypeVar("P", bound=Payload)


def request_event(payload: P, context: RequestContext) -> Event[P]:
    """Return an event of the request of `context`, every one of which is to be made here."""
    grant = context.grant
    if grant is None:
        return new_event(
            payload, correlation_id=context.correlation_id, traceparent=context.traceparent
        )
    return new_event(
        withhold_content(payload, grant.content_capture),
        correlation_id=context.correlation_id,
        traceparent=context.traceparent,
        api_key_name=grant.key_name,
        content_capture=grant.content_capture,
    )
