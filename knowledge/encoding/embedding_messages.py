"""Encodings as protobuf messages, their floats moved as blocks.

protobuf's Python containers take and give floats one by one: half a millisecond for a text's
token vectors. A packed field is its floats in little endian on the wire, and a message is parsed
and serialized at memory's speed, so the conversion goes by way of the wire format
(https://protobuf.dev/programming-guides/encoding/#packed).
"""

import numpy as np

from contracts.protos import encoder_pb2
from knowledge.ports import Encoding, FloatArray

_LENGTH_DELIMITED = 2
_VARINT = 0
_DENSE = encoder_pb2.Embedding.DENSE_FIELD_NUMBER
_TOKENS = encoder_pb2.Embedding.TOKENS_FIELD_NUMBER

_NO_FLOATS: FloatArray = np.empty(0, np.float32)


def to_message(encoding: Encoding) -> encoder_pb2.Embedding:
    """Return `encoding` as a message."""
    wire = _packed_field(_DENSE, encoding.dense)
    if encoding.tokens is not None:
        wire += _packed_field(_TOKENS, encoding.tokens)
    message: encoder_pb2.Embedding = encoder_pb2.Embedding.FromString(wire)
    message.token_rows = 0 if encoding.tokens is None else len(encoding.tokens)
    message.token_count = encoding.token_count
    return message


def from_message(message: encoder_pb2.Embedding, *, with_tokens: bool) -> Encoding:
    """Return the encoding in `message`, with token vectors (maybe none) or without.

    Raises:
        ValueError: the token vectors do not divide into `token_rows` rows.
    """
    fields = _packed_fields(message.SerializeToString())
    tokens: FloatArray | None = None
    if with_tokens:
        values = fields.get(_TOKENS, _NO_FLOATS)
        rows = message.token_rows
        if (rows == 0 and values.size) or (rows and values.size % rows):
            raise ValueError(f"{values.size} floats do not divide into {rows} token vectors")
        tokens = values.reshape(rows, values.size // rows if rows else 0)
    return Encoding(
        dense=fields.get(_DENSE, _NO_FLOATS), tokens=tokens, token_count=message.token_count
    )


def _packed_field(number: int, values: FloatArray) -> bytes:
    content = np.ascontiguousarray(values, dtype="<f4").tobytes()
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _packed_fields(wire: bytes) -> dict[int, FloatArray]:
    """Return the fields of floats of a serialized message, in arrays of their own."""
    fields: dict[int, FloatArray] = {}
    position = 0
    while position < len(wire):
        tag, position = _read_varint(wire, position)
        # Of a varint field this is the value, of a length-delimited one the length.
        number, position = _read_varint(wire, position)
        if tag & 7 == _VARINT:
            continue
        values = np.frombuffer(wire, dtype="<f4", count=number // 4, offset=position)
        fields[tag >> 3] = values.astype(np.float32)
        position += number
    return fields


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(wire: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = wire[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
