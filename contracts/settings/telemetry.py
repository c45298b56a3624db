"""Where traces go."""

import os
from typing import Annotated

from pydantic import AfterValidator, Field

from contracts.settings.section import Section, strip_trailing_slash


class TelemetrySettings(Section):
    """Traces by OTLP. OTEL_EXPORTER_OTLP_… turns them on too, and says headers and the like."""

    otlp_endpoint: Annotated[str, AfterValidator(strip_trailing_slash)] | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Of a collector, such as `http://127.0.0.1:4318`, without `/v1/traces`.",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of the requests whose caller does not decide."
    )

    @property
    def is_tracing(self) -> bool:
        """Whether spans go anywhere."""
        if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
            return False
        variables = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        return bool(self.otlp_endpoint or any(os.environ.get(name) for name in variables))

    @property
    def traces_endpoint(self) -> str | None:
        """Where spans are posted; None: where the environment says."""
        return None if self.otlp_endpoint is None else f"{self.otlp_endpoint}/v1/traces"

    @property
    def otlp_protocol(self) -> str:
        """What the environment asks for."""
        default = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
        return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or default
