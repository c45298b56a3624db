"""The event envelope: how a payload is written to a NATS message and read back."""

import re
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from contracts import payloads
from contracts.event_ids import new_event_id
from contracts.subjects import PipelineSubject, Subject, TelemetrySubject
from contracts.upcasts import Document, upcast

SCHEMA_VERSION = 2
"""See `contracts.upcasts` for what changed."""

P = TypeVar("P", bound=payloads.Payload)

ContentCapture = Literal["full", "redacted", "off"]
"""Whether texts are in an event: as they are, their shape alone, or not at all."""


class UndecodableEvent(ValueError):
    """The body is not an event of its subject: not JSON, a field missing or of a wrong type."""


class UnknownSchemaVersion(UndecodableEvent):
    """The event was written by a newer release than this one."""


class Event(msgspec.Struct, Generic[P], kw_only=True, omit_defaults=True):
    """What every event carries besides its payload."""

    event_id: str
    """UUIDv7, also sent as `Nats-Msg-Id`."""
    correlation_id: str
    """Shared by all events of one request."""
    occurred_at: datetime
    """UTC, the moment inside `event_id`."""
    schema_version: int
    traceparent: str | None = None
    api_key_name: str | None = None
    """Name of the API key that the request came with; None where none was needed."""
    content_capture: ContentCapture = "full"
    payload: P


PAYLOAD_TYPES: dict[Subject, type[payloads.Payload]] = {
    PipelineSubject.CHAT_PERSIST: payloads.ChatPersist,
    PipelineSubject.EMBEDDING: payloads.EmbeddingRequest,
    PipelineSubject.RETRIEVE: payloads.Retrieval,
    PipelineSubject.COMPOSE: payloads.Composition,
    PipelineSubject.FLOW_LINEAGE: payloads.FlowLineage,
    PipelineSubject.TOOL_CALL: payloads.ToolCall,
    TelemetrySubject.CHAT: payloads.ChatTelemetry,
    TelemetrySubject.EMBEDDING: payloads.EmbeddingTelemetry,
    TelemetrySubject.RETRIEVE: payloads.RetrievalTelemetry,
    TelemetrySubject.TOOL_CALL: payloads.ToolCallTelemetry,
}


class _Version(msgspec.Struct):
    schema_version: int


_CANONICAL_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_encoder = msgspec.json.Encoder()
_version_decoder = msgspec.json.Decoder(_Version)
_decoders: dict[Subject, msgspec.json.Decoder[Event[Any]]] = {
    subject: msgspec.json.Decoder(Event[payload_type])  # type: ignore[valid-type]
    for subject, payload_type in PAYLOAD_TYPES.items()
}


def new_event(
    payload: P,
    *,
    correlation_id: str,
    traceparent: str | None = None,
    api_key_name: str | None = None,
    content_capture: ContentCapture = "full",
) -> Event[P]:
    """Wrap `payload` in an envelope with a fresh event ID."""
    event_id, occurred_at = new_event_id()
    return Event(
        event_id=event_id,
        correlation_id=correlation_id,
        occurred_at=occurred_at,
        schema_version=SCHEMA_VERSION,
        traceparent=traceparent,
        api_key_name=api_key_name,
        content_capture=content_capture,
        payload=payload,
    )


def encode_event(event: Event[Any]) -> bytes:
    """Return the JSON body of `event`."""
    return _encoder.encode(event)


def decode_event(subject: Subject, body: bytes) -> Event[Any]:
    """Read the event of `subject` from a message body; one of an earlier version is upcast.

    Raises:
        UnknownSchemaVersion: the event's version is newer than this release knows.
        UndecodableEvent: anything else that keeps the body from being such an event.
    """
    try:
        event = _decode_any_version(subject, body)
    except RecursionError as error:
        raise UndecodableEvent("the body is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UndecodableEvent(str(error)) from error
    if event.occurred_at.tzinfo is None:
        raise UndecodableEvent("occurred_at has no time zone")
    if _CANONICAL_UUID.fullmatch(event.event_id):
        return event
    try:
        UUID(event.event_id)
    except ValueError as error:
        raise UndecodableEvent(f"event_id {event.event_id!r} is no UUID") from error
    return event


def _decode_any_version(subject: Subject, body: bytes) -> Event[Any]:
    try:
        event = _decoders[subject].decode(body)
    except msgspec.ValidationError:
        # Another version may well have another shape.
        version = _version_decoder.decode(body).schema_version
        if version == SCHEMA_VERSION:
            raise
    else:
        version = event.schema_version
        if version == SCHEMA_VERSION:
            return event
    if version > SCHEMA_VERSION:
        raise UnknownSchemaVersion(
            f"schema_version {version} is unknown to this release, which reads {SCHEMA_VERSION}"
        )
    document = msgspec.json.decode(body, type=Document)
    try:
        document = upcast(subject, document, SCHEMA_VERSION)
    except (LookupError, TypeError) as error:
        raise UndecodableEvent(f"schema_version {version} cannot be read: {error}") from error
    return _decoders[subject].decode(_encoder.encode(document))
