"""How each HTTP interface tells of a failure."""

from typing import Protocol

import msgspec

from encoder.errors import EncoderError


class Dialect(Protocol):
    """The error shape of one interface."""

    def status_of(self, error: EncoderError) -> int:
        """Return the HTTP status."""
        ...

    def body_of(self, error: EncoderError) -> bytes:
        """Return the JSON body."""
        ...


class TeiDialect:
    """text-embeddings-inference's: `{"error": …, "error_type": …}`."""

    def status_of(self, error: EncoderError) -> int:
        return error.tei_status

    def body_of(self, error: EncoderError) -> bytes:
        return msgspec.json.encode({"error": error.message, "error_type": error.tei_type})


class OpenAiDialect:
    """OpenAI's: an envelope with all four keys."""

    def status_of(self, error: EncoderError) -> int:
        return error.status

    def body_of(self, error: EncoderError) -> bytes:
        envelope = {
            "message": error.message,
            "type": error.openai_type,
            "param": error.param,
            "code": error.code,
        }
        return msgspec.json.encode({"error": envelope})
