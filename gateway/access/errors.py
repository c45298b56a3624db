"""Refusals of a caller: no valid key, not this model or collection, too much at once."""

import math
from collections.abc import Sequence

from gateway.errors import INVALID_REQUEST, RATE_LIMIT, GatewayError, Header

AUTHENTICATION = "authentication_error"
PERMISSION = "permission_error"


class KeyRefused(GatewayError):
    """401: no API key was sent, or none that is valid."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            status=401,
            error_type=AUTHENTICATION,
            code="invalid_api_key",
            headers=[(b"www-authenticate", b"Bearer")],
        )


class ModelNotAllowed(GatewayError):
    """403: the key is limited to other models."""

    def __init__(self, model: str, key_name: str) -> None:
        super().__init__(
            f"The API key {key_name!r} may not use the model {model!r}.",
            status=403,
            error_type=PERMISSION,
            code="model_not_allowed",
            param="model",
        )


class CollectionNotAllowed(GatewayError):
    """403: the key is limited to other collections."""

    def __init__(self, collection: str, key_name: str) -> None:
        super().__init__(
            f"The API key {key_name!r} may not search the collection {collection!r}.",
            status=403,
            error_type=PERMISSION,
            code="collection_not_allowed",
            param="collection",
        )


class LimitReached(GatewayError):
    """429: the key has used up its requests or tokens for the moment."""

    def __init__(
        self,
        what: str,
        limit: int,
        key_name: str,
        retry_after_seconds: float,
        headers: Sequence[Header],
    ) -> None:
        """
        Args:
            what: `requests` or `tokens`.
            headers: how much of the limits is left.
        """
        seconds = max(1, math.ceil(retry_after_seconds))
        super().__init__(
            f"The API key {key_name!r} has reached its limit of {limit} {what} a minute;"
            f" try again in {seconds} s.",
            status=429,
            error_type=RATE_LIMIT,
            code="rate_limit_exceeded",
            headers=[(b"retry-after", str(seconds).encode()), *headers],
        )


class HeadersTooLarge(GatewayError):
    """431: more header fields, or larger ones, than the gateway takes."""

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(
            f"The request has more than the {limit} {what} of headers that this gateway accepts"
            f" (setting gateway.{setting}).",
            status=431,
            error_type=INVALID_REQUEST,
            code="headers_too_large",
        )
