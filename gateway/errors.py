"""Failures that a client is told about, and the OpenAI envelope they are told in."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

Header = tuple[bytes, bytes]

INVALID_REQUEST = "invalid_request_error"
API_ERROR = "api_error"
SERVER_ERROR = "server_error"
RATE_LIMIT = "rate_limit_error"


class GatewayError(Exception):
    """A failure with the HTTP status and the fields of OpenAI's error object."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str,
        code: str | None = None,
        param: str | None = None,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.error_type = error_type
        self.code = code
        self.param = param
        self.headers = headers


class InvalidRequest(GatewayError):
    """400: the request is not JSON, lacks a field or has one of a wrong type."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = "invalid_value"
    ) -> None:
        super().__init__(message, status=400, error_type=INVALID_REQUEST, code=code, param=param)


class BodyTooLarge(GatewayError):
    """413: the body is over `gateway.max_body_bytes`."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The request body is larger than the {limit} bytes this gateway accepts"
            " (setting gateway.max_body_bytes).",
            status=413,
            error_type=INVALID_REQUEST,
            code="request_too_large",
        )


class ModelNotFound(GatewayError):
    """404: no backend serves the model."""

    def __init__(self, model: str, served: list[str]) -> None:
        names = ", ".join(served) if served else "none at the moment"
        super().__init__(
            f"The model {model!r} is served by no backend. Models served: {names}.",
            status=404,
            error_type=INVALID_REQUEST,
            code="model_not_found",
            param="model",
        )
        self.served = served


class BackendError(GatewayError):
    """A backend could not be used; `backend` names it and `reason` is a metric's label."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        backend: str,
        reason: str,
        error_type: str = API_ERROR,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(
            message,
            status=status,
            error_type=error_type,
            code=f"backend_{reason}",
            headers=headers,
        )
        self.backend = backend
        self.reason = reason

    @classmethod
    def of(cls, backend: str, what: str, reason: str, *, status: int = 502) -> "BackendError":
        """Return the error that says `what` the backend did."""
        return cls(
            f"The backend {backend!r} {what}.", status=status, backend=backend, reason=reason
        )


class BackendBusy(BackendError):
    """429: as many requests wait for the model's backends as may."""

    def __init__(self, backend: str, retry_after_seconds: float) -> None:
        super().__init__(
            f"The backend {backend!r} has as much to do as it takes; try again later.",
            status=429,
            backend=backend,
            reason="queue_full",
            error_type=RATE_LIMIT,
            headers=_retry_after(retry_after_seconds),
        )


class BackendQueueTimeout(BackendError):
    """503: the request has waited for its backend for as long as it may."""

    def __init__(self, backend: str, waited_seconds: float, retry_after_seconds: float) -> None:
        super().__init__(
            f"The backend {backend!r} had no place for the request within {waited_seconds:g} s.",
            status=503,
            backend=backend,
            reason="queue_timeout",
            headers=_retry_after(retry_after_seconds),
        )


class BackendOutOfUse(BackendError):
    """503: the model's backends have failed again and again, and are given a pause."""

    def __init__(self, backend: str, retry_after_seconds: float) -> None:
        super().__init__(
            f"The backend {backend!r} has failed repeatedly and is out of use for the moment.",
            status=503,
            backend=backend,
            reason="out_of_use",
            headers=_retry_after(retry_after_seconds),
        )


class SearchFailed(GatewayError):
    """503: the answer needs the passage index, which cannot be searched."""

    def __init__(self) -> None:
        super().__init__(
            "The passages that this model answers from cannot be searched at the moment.",
            status=503,
            error_type=API_ERROR,
            code="search_unavailable",
        )


class EncoderDown(GatewayError):
    """503: the vectors that were asked for cannot be made at the moment."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The encoder is unavailable: {reason}.",
            status=503,
            error_type=API_ERROR,
            code="encoder_unavailable",
        )


class EncoderBusy(GatewayError):
    """429: the encoder's queue is full."""

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(
            "The encoder has as much to do as it takes; try again later.",
            status=429,
            error_type=RATE_LIMIT,
            code="encoder_overloaded",
            headers=_retry_after(retry_after_seconds),
        )


class ShuttingDown(GatewayError):
    """503: the gateway is being stopped and ended the call."""

    def __init__(self) -> None:
        super().__init__(
            "The gateway is shutting down.",
            status=503,
            error_type=SERVER_ERROR,
            code="shutting_down",
        )


class InternalError(GatewayError):
    """500: a defect of the gateway; the correlation ID leads to the traceback in the log."""

    def __init__(self, correlation_id: str) -> None:
        super().__init__(
            f"Unexpected error in the gateway. Correlation ID: {correlation_id}",
            status=500,
            error_type=SERVER_ERROR,
            code="internal_error",
        )


def _retry_after(seconds: float) -> list[Header]:
    return [(b"retry-after", str(max(1, math.ceil(seconds))).encode())]


def openai_error_body(error: GatewayError) -> bytes:
    """Return OpenAI's error envelope as JSON, all four keys present."""
    envelope: dict[str, dict[str, Any]] = {
        "error": {
            "message": error.message,
            "type": error.error_type,
            "param": error.param,
            "code": error.code,
        }
    }
    return msgspec.json.encode(envelope)


def openai_error_event(error: GatewayError) -> bytes:
    """Return the error envelope as the event that ends a failed stream."""
    return b"data: " + openai_error_body(error) + b"\n\n"
