"""Encodings through messages and back."""

import numpy as np
import pytest

from contracts.protos import encoder_pb2
from knowledge.encoding.embedding_messages import from_message, to_message
from knowledge.ports import Encoding


def _encoding(rows: int | None) -> Encoding:
    random = np.random.default_rng(rows or 0)
    tokens = None if rows is None else random.standard_normal((rows, 64)).astype(np.float32)
    return Encoding(random.standard_normal(256).astype(np.float32), tokens, 300)


@pytest.mark.parametrize("rows", [None, 0, 1, 31, 300])
def test_an_encoding_comes_back_bit_for_bit(rows: int | None) -> None:
    encoding = _encoding(rows)

    wire = to_message(encoding).SerializeToString()
    read = from_message(encoder_pb2.Embedding.FromString(wire), with_tokens=rows is not None)

    assert read.dense.tobytes() == encoding.dense.tobytes()
    assert read.token_count == 300
    if encoding.tokens is None:
        assert read.tokens is None
    else:
        assert read.tokens is not None
        assert len(read.tokens) == rows
        assert read.tokens.tobytes() == encoding.tokens.tobytes()


def test_the_message_is_what_protobufs_own_containers_make() -> None:
    encoding = _encoding(7)
    assert encoding.tokens is not None

    assert to_message(encoding) == encoder_pb2.Embedding(
        dense=encoding.dense.tolist(),
        tokens=encoding.tokens.ravel().tolist(),
        token_rows=7,
        token_count=300,
    )


def test_a_vector_of_256_dimensions_takes_about_a_kilobyte() -> None:
    assert len(to_message(_encoding(None)).SerializeToString()) < 1040


@pytest.mark.parametrize(("floats", "rows"), [(64, 0), (64, 63)])
def test_token_vectors_that_do_not_divide_are_refused(floats: int, rows: int) -> None:
    message = encoder_pb2.Embedding(dense=[1.0], tokens=[0.5] * floats, token_rows=rows)

    with pytest.raises(ValueError, match="do not divide"):
        from_message(message, with_tokens=True)
