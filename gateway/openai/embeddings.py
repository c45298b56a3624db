"""OpenAI's embeddings: the request that is read, the items that are written.

https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import Raw, Struct, json

from contracts.payloads import TokenUsage
from gateway.errors import InvalidRequest
from gateway.openai.fields import read_field, read_fields
from knowledge.ports import FloatArray

EncodingFormat = Literal["float", "base64"]

_model_decoder = json.Decoder(str)
# A union may hold one kind of array only: what the items are is looked at afterwards.
_input_decoder = json.Decoder(str | list[str | int | list[int]])
_format_decoder = json.Decoder(EncodingFormat | None)
_dimensions_decoder = json.Decoder(int | None)
_truncate_decoder = json.Decoder(bool | None)
_kind_decoder = json.Decoder(str | None)
_floats_decoder = json.Decoder(list[float])
_encoder = json.Encoder()


class NoEmbeddings(ValueError):
    """The body is no list of embeddings; the message says why."""


@dataclass(frozen=True)
class EmbeddingsRequest:
    """A request for embeddings; its fields are kept as the client's own bytes."""

    fields: Mapping[str, Raw]
    model: str
    texts: list[str] | None
    """None where the input is token IDs."""
    input_count: int
    """How many vectors are asked for."""
    encoding_format: EncodingFormat
    dimensions: int | None
    kind: str
    """The extension field `input_type`; `document` where it is not given."""
    truncates: bool
    """The extension field `truncate`: cut what is too long instead of refusing it."""

    def forwarded_body(self, model: str) -> bytes:
        """Return the body for a backend: its name for the model, the client's non-null fields.

        Clients send `null` for what they leave to the server, and some servers refuse it.
        """
        fields = {name: raw for name, raw in self.fields.items() if bytes(raw) != b"null"}
        if model != self.model:
            fields["model"] = Raw(_encoder.encode(model))
        return _encoder.encode(fields)


class _Item(Struct):
    embedding: Raw


class _EmbeddingList(Struct):
    data: list[_Item]
    usage: TokenUsage | None = None


_list_decoder = json.Decoder(_EmbeddingList)
_items_decoder = json.Decoder(list[dict[str, Raw]])
_fields_decoder = json.Decoder(dict[str, Raw])


@dataclass(frozen=True)
class EmbeddingsAnswer:
    """A backend's answer as far as the gateway must know it."""

    embeddings: list[Raw]
    usage: TokenUsage

    @property
    def dimensions(self) -> int:
        """Of the first vector; 0 where there is none. Raises NoEmbeddings."""
        return len(read_vector(self.embeddings[0])) if self.embeddings else 0

    def has_format(self, encoding_format: EncodingFormat) -> bool:
        """Return whether every vector came as it was asked for."""
        start = ord('"' if encoding_format == "base64" else "[")
        return all(memoryview(raw)[0] == start for raw in self.embeddings)


def read_embeddings_request(body: bytes) -> EmbeddingsRequest:
    """Decode the body of `POST /v1/embeddings`.

    Raises:
        InvalidRequest: it is no JSON object in UTF-8, or a field that the gateway needs is
            missing or of a wrong type; `param` is the field's path.
    """
    fields = read_fields(body)
    model = read_field(fields, "model", _model_decoder)
    if not model:
        raise InvalidRequest("'model' is empty.", param="model")
    encoding_format = read_field(fields, "encoding_format", _format_decoder, default=None)
    texts, input_count = _read_input(read_field(fields, "input", _input_decoder))
    return EmbeddingsRequest(
        fields=fields,
        model=model,
        texts=texts,
        input_count=input_count,
        encoding_format=encoding_format or "float",
        dimensions=read_field(fields, "dimensions", _dimensions_decoder, default=None),
        kind=read_field(fields, "input_type", _kind_decoder, default=None) or "document",
        truncates=bool(read_field(fields, "truncate", _truncate_decoder, default=None)),
    )


def read_embeddings(body: bytes) -> EmbeddingsAnswer:
    """Read a backend's answer. Raises NoEmbeddings."""
    try:
        decoded = _list_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoEmbeddings(str(error)) from error
    return EmbeddingsAnswer(
        [item.embedding for item in decoded.data], decoded.usage or TokenUsage()
    )


def replace_vectors(body: bytes, vectors: Sequence[Raw]) -> bytes:
    """Return a backend's answer with other vectors; everything else keeps its bytes."""
    fields = _fields_decoder.decode(body)
    items = _items_decoder.decode(fields["data"])
    for item, vector in zip(items, vectors, strict=True):
        item["embedding"] = vector
    fields["data"] = Raw(_encoder.encode(items))
    return _encoder.encode(fields)


def read_vector(raw: Raw) -> FloatArray:
    """Return a vector that came as a list of numbers or as base64. Raises NoEmbeddings."""
    import numpy as np

    try:
        if memoryview(raw)[0] == ord('"'):
            content = base64.b64decode(json.decode(raw, type=str), validate=True)
            return np.frombuffer(content, dtype="<f4")
        return np.array(_floats_decoder.decode(raw), dtype=np.float32)
    except (msgspec.DecodeError, ValueError) as error:
        raise NoEmbeddings(str(error)) from error


def write_vector(vector: FloatArray, encoding_format: EncodingFormat) -> Raw:
    """Return a vector as JSON: a list of numbers, or float32 in little endian as base64."""
    if encoding_format == "base64":
        return Raw(b'"' + base64.b64encode(vector.astype("<f4", copy=False).tobytes()) + b'"')
    return Raw(_encoder.encode(vector.tolist()))


def write_item(index: int, vector: FloatArray, encoding_format: EncodingFormat) -> Raw:
    """Return one entry of the answer's `data`."""
    embedding = write_vector(vector, encoding_format)
    return Raw(_encoder.encode({"object": "embedding", "index": index, "embedding": embedding}))


def write_embeddings(items: Sequence[Raw], *, model: str, prompt_tokens: int) -> bytes:
    """Return the body of an answer with `items` of `write_item`."""
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return _encoder.encode({"object": "list", "data": items, "model": model, "usage": usage})


def _read_input(value: str | list[str | int | list[int]]) -> tuple[list[str] | None, int]:
    """Return the texts, or None for token IDs, and the number of inputs."""
    if isinstance(value, str):
        return [value], 1
    texts = [item for item in value if isinstance(item, str)]
    if len(texts) == len(value):
        return texts, len(texts)
    if all(isinstance(item, int) for item in value):
        return None, 1
    if all(isinstance(item, list) for item in value):
        return None, len(value)
    raise InvalidRequest(
        "'input' must be a string, or an array of strings, of token IDs or of arrays of token IDs.",
        param="input",
        code="invalid_type",
    )
