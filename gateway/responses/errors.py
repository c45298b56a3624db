"""Failures of the Responses protocol's state, in OpenAI's words."""

from gateway.errors import INVALID_REQUEST, SERVER_ERROR, GatewayError, InvalidRequest


class ResponseNotFound(GatewayError):
    """404: no response of this ID was stored for the client's key, or it is gone by now."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Response with id '{response_id}' not found.",
            status=404,
            error_type=INVALID_REQUEST,
        )


class PreviousResponseNotFound(InvalidRequest):
    """400, as OpenAI has it: the conversation that is to go on is not there, or not whole."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id '{response_id}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )


class PreviousResponseFailed(InvalidRequest):
    """400: the conversation that is to go on ends with a failure."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id '{response_id}' failed and cannot be continued: go on"
            " from the one before it.",
            param="previous_response_id",
            code="previous_response_failed",
        )


class ItemNotFound(GatewayError):
    """404: an item that the input refers to was not stored for the client's key."""

    def __init__(self, item_id: str) -> None:
        super().__init__(
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to"
            " false. Try again with `store` set to true, or remove this item from your input.",
            status=404,
            error_type=INVALID_REQUEST,
            param="input",
        )


class StoreUnavailable(GatewayError):
    """503: responses can neither be kept nor read at the moment."""

    def __init__(self) -> None:
        super().__init__(
            "Responses cannot be stored or read at the moment: the database is unavailable."
            " A request with 'store': false and without 'previous_response_id' needs none.",
            status=503,
            error_type=SERVER_ERROR,
            code="store_unavailable",
        )


class ConversationTooLong(InvalidRequest):
    """400: more turns or bytes lie before the request than are read back."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"The conversation that ends with the response '{response_id}' has more turns than"
            " responses.max_turns or more bytes than responses.max_conversation_bytes.",
            param="previous_response_id",
            code="conversation_too_long",
        )


class ReferencesTooLarge(InvalidRequest):
    """400: the responses that hold the items referred to have more bytes than are read back."""

    def __init__(self) -> None:
        super().__init__(
            "The responses that hold the items referred to have more bytes than"
            " responses.max_conversation_bytes.",
            param="input",
            code="conversation_too_long",
        )
