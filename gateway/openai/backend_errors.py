"""A backend's own error, brought into OpenAI's envelope where it falls short of it.

llama.cpp has no `param`, LM Studio may say no more than the message, older vLLM has no `error`
around it. Clients rely on all four keys.
"""

import msgspec
from msgspec import Raw, json

from gateway.errors import API_ERROR, INVALID_REQUEST

_KEYS = ("message", "type", "param", "code")
_NULL = Raw(b"null")

_fields_decoder = json.Decoder(dict[str, Raw])
_error_decoder = json.Decoder(dict[str, Raw] | str)
_encoder = json.Encoder()


def complete_envelope(body: bytes, *, status: int) -> bytes:
    """Return an error answer with all four keys of the envelope; what it has keeps its bytes.

    A body that holds no error is returned as it is.

    Args:
        status: tells the type of an error that has none.
    """
    try:
        fields = _fields_decoder.decode(body)
        error = fields if "message" in fields else _error_decoder.decode(fields["error"])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return body
    if isinstance(error, str):
        error = {"message": Raw(_encoder.encode(error))}
    elif "error" in fields and all(key in error for key in _KEYS):
        return body
    error_type = API_ERROR if status >= 500 else INVALID_REQUEST
    completed = {
        "message": Raw(b'""'),
        "type": Raw(_encoder.encode(error_type)),
        "param": _NULL,
        "code": _NULL,
        **error,
    }
    return _encoder.encode(
        {"error": completed} if error is fields else {**fields, "error": completed}
    )
