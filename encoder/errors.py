"""Failures that a caller is told about.

Each has the status and names that the interfaces give it: that of text-embeddings-inference
(`tei_…`, https://huggingface.github.io/text-embeddings-inference) and OpenAI's.
"""


class EncoderError(Exception):
    """A failure with what the protocols say of it."""

    status = 500
    tei_status = 500
    tei_type = "Backend"
    openai_type = "server_error"
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(EncoderError):
    """The request is not JSON, lacks a field or has one of a wrong type or value."""

    status = 400
    tei_status = 422
    tei_type = "Validation"
    openai_type = "invalid_request_error"
    code = "invalid_value"


class NoInput(InvalidRequest):
    """The list of texts is empty."""

    tei_status = 400
    tei_type = "Empty"


class RefusedText(InvalidRequest):
    """A text or a token ID that has no place in the model's vocabulary."""

    tei_type = "Tokenizer"
    code = "invalid_input"


class TooLarge(InvalidRequest):
    """413: the body, the number of texts or their tokens are over a limit."""

    status = 413
    tei_status = 413
    code = "request_too_large"


class UnknownModel(InvalidRequest):
    """404: another model than the one that is served was asked for."""

    status = 404
    tei_status = 404
    code = "model_not_found"


class Overloaded(EncoderError):
    """429: the queue is full."""

    status = 429
    tei_status = 429
    tei_type = "Overloaded"
    openai_type = "rate_limit_error"
    code = "queue_full"


class NotReady(EncoderError):
    """503: the model is being loaded, or the process is ending."""

    status = 503
    tei_status = 503
    tei_type = "Unhealthy"
    code = "not_ready"


class InferenceFailed(EncoderError):
    """500: the engine failed on the batch that held a text of the request."""

    code = "inference_failed"
