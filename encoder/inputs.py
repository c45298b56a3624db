"""The texts of a request in any of the forms that the interfaces allow."""

from typing import Any, TypeGuard

from encoder.errors import InvalidRequest, NoInput, RefusedText
from encoder.service import EncoderService
from knowledge.ports import EmbeddingKind, Encoding


async def embed_input(
    service: EncoderService,
    value: Any,
    *,
    field: str,
    kind: EmbeddingKind,
    is_truncating: bool = True,
) -> list[Encoding]:
    """Return the encodings of a string, strings, a list of token IDs, or lists of token IDs.

    Args:
        field: name of the value in the request.

    Raises:
        EncoderError: the value has none of these forms, or cannot be embedded.
    """
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise _wrong_form(field)
    if not value:
        raise NoInput(f"`{field}` is empty.", param=field)
    if all(isinstance(each, str) for each in value):
        return await service.embed(value, kind=kind, is_truncating=is_truncating)
    if _is_token_ids(value):
        value = [value]
    if not all(_is_token_ids(each) for each in value):
        raise _wrong_form(field)
    if not all(value):
        raise RefusedText(f"A list of token IDs in `{field}` is empty.", param=field)
    return await service.embed_token_ids(value, kind=kind)


def _is_token_ids(value: Any) -> TypeGuard[list[int]]:
    # A bool is an int in Python, and is none in JSON.
    return isinstance(value, list) and all(type(each) is int for each in value)


def _wrong_form(field: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is to be a string, a list of strings, a list of token IDs, or a list of lists"
        " of token IDs.",
        param=field,
    )
