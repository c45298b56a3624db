"""Opens tracing where it is configured; without, OpenTelemetry is not even imported."""

from typing import TYPE_CHECKING

from contracts.settings import TelemetrySettings

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing


class TracingError(Exception):
    """Tracing is configured in a way that cannot work; the message says what is allowed."""


def open_tracing(settings: TelemetrySettings, service: str) -> "Tracing | None":
    """Return what spans are recorded with, or None where nothing is configured.

    Args:
        service: name of this part, unless OTEL_SERVICE_NAME says another.

    Raises:
        TracingError: the environment asks for a protocol that is not spoken.
    """
    if not settings.is_tracing:
        return None
    check_protocol(settings)
    from contracts.tracing.tracing import Tracing

    return Tracing(settings, service)


def check_protocol(settings: TelemetrySettings) -> None:
    """Return if spans can be sent as the environment asks, or are not sent. Raises TracingError."""
    protocol = settings.otlp_protocol
    if settings.is_tracing and protocol != "http/protobuf":
        raise TracingError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; traces are sent by 'http/protobuf'"
        )
