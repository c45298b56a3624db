"""Reads a request's JSON object field by field, the rest kept as the client's bytes."""

import re
from collections.abc import Mapping
from typing import TypeVar, overload

import msgspec
from msgspec import Raw, json

from gateway.errors import InvalidRequest

T = TypeVar("T")
D = TypeVar("D")

_ERROR_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_REQUIRED = object()

_fields_decoder = json.Decoder(dict[str, Raw])


def read_fields(body: bytes) -> dict[str, Raw]:
    """Return the fields of a JSON object.

    Raises:
        InvalidRequest: it is none, or not UTF-8.
    """
    try:
        # The fields are only skipped over, which does not look at their encoding.
        if not body.isascii():
            body.decode()
        return _fields_decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The request body is no JSON object: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"The request body is not valid JSON: {error}.", code="invalid_json"
        ) from error
    except RecursionError as error:
        raise InvalidRequest(
            "The request body is nested too deeply.", code="invalid_json"
        ) from error


def read_struct(body: bytes, decoder: json.Decoder[T]) -> T:
    """Return the fields that `decoder` knows of a JSON object that `read_fields` has read.

    Raises:
        InvalidRequest: one is of a wrong type; `param` is its path.
    """
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise invalid_type(error) from error
    except RecursionError as error:
        raise InvalidRequest(
            "The request body is nested too deeply.", code="invalid_json"
        ) from error


def invalid_type(error: msgspec.DecodeError, within: str = "") -> InvalidRequest:
    """Return the refusal of a value; `within` is the path of what was decoded."""
    match = _ERROR_PATH.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    param = (within + path).removeprefix(".")
    return InvalidRequest(f"Invalid value for '{param}': {what}.", param=param, code="invalid_type")


@overload
def read_field(fields: Mapping[str, Raw], name: str, decoder: json.Decoder[T]) -> T: ...


@overload
def read_field(
    fields: Mapping[str, Raw], name: str, decoder: json.Decoder[T], *, default: D
) -> T | D: ...


def read_field(
    fields: Mapping[str, Raw], name: str, decoder: json.Decoder[T], *, default: object = _REQUIRED
) -> object:
    """Return the value of field `name`, or `default` where it is absent and there is one.

    Raises:
        InvalidRequest: it is missing, or of a wrong type; `param` is the path of what is wrong.
    """
    raw = fields.get(name)
    if raw is None:
        if default is not _REQUIRED:
            return default
        raise InvalidRequest(
            f"Missing required parameter: '{name}'.",
            param=name,
            code="missing_required_parameter",
        )
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise invalid_type(error, name) from error
