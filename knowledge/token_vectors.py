"""A text's token vectors as bytes, for storage beside its chunk.

Layout, little-endian: version (uint8), value type (uint8: 1 int8, 2 float16), dimensions (uint16),
rows (uint32), then rows x dimensions values, row by row. An int8 value v stands for v / 127.
"""

import struct
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from knowledge.ports import FloatArray

TokenVectorType = Literal["int8", "float16"]

INT8_SCALE = 127.0
"""What a component of a normalised vector, -1 to 1, is multiplied by before it is rounded."""

_VERSION = 1
_HEADER = struct.Struct("<BBHI")
_TYPE_CODES: dict[TokenVectorType, int] = {"int8": 1, "float16": 2}
_TYPES: dict[int, np.dtype[Any]] = {1: np.dtype("i1"), 2: np.dtype("<f2")}
_LARGEST_COMPONENT = 1.001
"""Above 1 by no more than rounding makes of a normalised row."""


class UnreadableTokenVectors(ValueError):
    """The bytes are no token vectors, are cut off, or of a version that is not known here."""


def pack_token_vectors(matrix: FloatArray, dtype: TokenVectorType = "int8") -> bytes:
    """Return `matrix` as bytes.

    Args:
        matrix: shape (tokens, dimensions), each row L2-normalised; no rows are allowed.
        dtype: int8 takes a byte a value and shifts a cosine by about 0.002 in 64 dimensions,
            float16 takes two and shifts it by about 0.0001.

    Raises:
        ValueError: the shape is another, the type is unknown, or a value is not in -1 to 1.
    """
    if dtype not in _TYPE_CODES:
        raise ValueError(f"token vectors are of type {get_args(TokenVectorType)}, not {dtype!r}")
    if matrix.ndim != 2 or not 0 < matrix.shape[1] <= 0xFFFF:
        raise ValueError(f"token vectors have the shape (tokens, dimensions), not {matrix.shape}")
    # A comparison with NaN is false: it is refused too.
    if matrix.size and not float(np.abs(matrix).max()) <= _LARGEST_COMPONENT:
        raise ValueError("token vectors are to be L2-normalised: a value is not in -1 to 1")
    rows, dimensions = matrix.shape
    values: NDArray[Any]
    if dtype == "int8":
        values = np.rint(np.clip(matrix, -1.0, 1.0) * INT8_SCALE).astype("i1")
    else:
        values = matrix.astype("<f2")
    return _HEADER.pack(_VERSION, _TYPE_CODES[dtype], dimensions, rows) + values.tobytes()


def view_token_vectors(data: bytes | memoryview) -> NDArray[np.int8] | NDArray[np.float16]:
    """Return the stored values, shape (tokens, dimensions), as a read-only view of `data`.

    Those of int8 are to be divided by `INT8_SCALE`.

    Raises:
        UnreadableTokenVectors: `data` is not of `pack_token_vectors` of this version.
    """
    if len(data) < _HEADER.size:
        raise UnreadableTokenVectors(f"{len(data)} bytes are less than a header")
    version, code, dimensions, rows = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise UnreadableTokenVectors(f"version {version} is not known here, {_VERSION} is")
    value_type = _TYPES.get(code)
    if value_type is None:
        raise UnreadableTokenVectors(f"value type {code} is not known here")
    if dimensions == 0:
        raise UnreadableTokenVectors("vectors of 0 dimensions")
    expected = _HEADER.size + rows * dimensions * value_type.itemsize
    if len(data) != expected:
        raise UnreadableTokenVectors(
            f"{len(data)} bytes, not {expected} as {rows} vectors of {dimensions} dimensions take"
        )
    values = np.frombuffer(data, dtype=value_type, offset=_HEADER.size)
    return values.reshape(rows, dimensions)


def unpack_token_vectors(data: bytes | memoryview) -> FloatArray:
    """Return the vectors, shape (tokens, dimensions), each of length 1 but for rounding.

    Raises:
        UnreadableTokenVectors: as for `view_token_vectors`.
    """
    stored = view_token_vectors(data)
    vectors = stored.astype(np.float32)
    if stored.dtype == np.int8:
        vectors /= INT8_SCALE
    return vectors
