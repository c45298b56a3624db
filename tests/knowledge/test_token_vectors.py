"""Token vectors survive the way to bytes and back; bytes of anything else are refused."""

import numpy as np
import pytest

from knowledge.ports import FloatArray
from knowledge.token_vectors import (
    INT8_SCALE,
    TokenVectorType,
    UnreadableTokenVectors,
    pack_token_vectors,
    unpack_token_vectors,
    view_token_vectors,
)


def _vectors(rows: int, dimensions: int, seed: int = 1) -> FloatArray:
    matrix = np.random.default_rng(seed).standard_normal((rows, dimensions), dtype=np.float32)
    normalised: FloatArray = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return normalised


@pytest.mark.parametrize(
    ("dtype", "tolerance", "size"), [("int8", 0.004, 1), ("float16", 0.0005, 2)]
)
@pytest.mark.parametrize("shape", [(200, 64), (1, 1), (3, 96), (0, 64)])
def test_vectors_come_back(
    dtype: TokenVectorType, tolerance: float, size: int, shape: tuple[int, int]
) -> None:
    vectors = _vectors(*shape)
    data = pack_token_vectors(vectors, dtype)
    assert len(data) == 8 + vectors.size * size
    unpacked = unpack_token_vectors(data)
    assert unpacked.dtype == np.float32
    assert unpacked.shape == shape
    np.testing.assert_allclose(unpacked, vectors, atol=tolerance)


def test_similarities_are_kept() -> None:
    vectors = _vectors(300, 64)
    unpacked = unpack_token_vectors(pack_token_vectors(vectors))
    np.testing.assert_allclose(unpacked @ unpacked.T, vectors @ vectors.T, atol=0.02)


def test_the_layout_is_the_documented_one() -> None:
    vectors = np.array([[1.0, 0.0], [-0.6, 0.8]], dtype=np.float32)
    assert pack_token_vectors(vectors) == (
        b"\x01\x01\x02\x00\x02\x00\x00\x00" + bytes([127, 0, 256 - 76, 102])
    )
    assert pack_token_vectors(vectors[:1], "float16") == (
        b"\x01\x02\x02\x00\x01\x00\x00\x00" + b"\x00\x3c\x00\x00"
    )


def test_a_view_copies_nothing() -> None:
    data = pack_token_vectors(_vectors(5, 8))
    view = view_token_vectors(data)
    assert view.dtype == np.int8
    assert not view.flags.writeable
    assert np.shares_memory(view, np.frombuffer(data, dtype=np.int8))
    assert np.array_equal(view / np.float32(INT8_SCALE), unpack_token_vectors(data))
    assert np.array_equal(view_token_vectors(memoryview(data)), view)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "less than a header"),
        (b"\x01\x01\x02\x00", "less than a header"),
        (b"\x02\x01\x02\x00\x01\x00\x00\x00ab", "version 2 is not known"),
        (b"\x01\x09\x02\x00\x01\x00\x00\x00ab", "value type 9"),
        (b"\x01\x01\x00\x00\x01\x00\x00\x00", "0 dimensions"),
        (b"\x01\x01\x02\x00\x01\x00\x00\x00a", "9 bytes, not 10"),
        (b"\x01\x01\x02\x00\x01\x00\x00\x00abc", "11 bytes, not 10"),
        (b"\x01\x02\x02\x00\xff\xff\xff\xffab", "vectors of 2 dimensions"),
    ],
)
def test_other_bytes_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(UnreadableTokenVectors, match=complaint):
        unpack_token_vectors(data)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros(4, dtype=np.float32),
        np.zeros((4, 0), dtype=np.float32),
        np.full((2, 2), 3.0, dtype=np.float32),
        np.array([[np.nan, 0.0]], dtype=np.float32),
        np.array([[np.inf, 0.0]], dtype=np.float32),
    ],
)
def test_what_is_no_matrix_of_normalised_rows_is_refused(matrix: FloatArray) -> None:
    with pytest.raises(ValueError, match="token vectors"):
        pack_token_vectors(matrix)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'int4'"):
        pack_token_vectors(_vectors(1, 4), "int4")  # type: ignore[arg-type]
