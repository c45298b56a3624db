"""MaxSim over packed token vectors, and the order it makes."""

import numpy as np
import pytest

from knowledge.late_interaction import compute_maxsim, order_by_maxsim
from knowledge.ports import FloatArray
from knowledge.token_vectors import (
    TokenVectorType,
    UnreadableTokenVectors,
    pack_token_vectors,
    unpack_token_vectors,
)

GENERATOR = np.random.default_rng(1)


def _vectors(rows: int, dimensions: int = 64) -> FloatArray:
    matrix = GENERATOR.standard_normal((rows, dimensions), dtype=np.float32)
    normalised: FloatArray = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return normalised


def _maxsim_by_definition(query: FloatArray, passage: FloatArray) -> float:
    return sum(max(float(q @ p) for p in passage) for q in query) / len(query)


@pytest.mark.parametrize("dtype", ["int8", "float16"])
@pytest.mark.parametrize("query_rows", [1, 2, 32, 300])
def test_scores_are_those_of_the_definition(dtype: TokenVectorType, query_rows: int) -> None:
    query = _vectors(query_rows)
    packed = [pack_token_vectors(_vectors(rows), dtype) for rows in (1, 2, 200, 7, 64)]
    expected = [_maxsim_by_definition(query, unpack_token_vectors(data)) for data in packed]
    np.testing.assert_allclose(compute_maxsim(query, packed), expected, rtol=1e-4)


def test_types_may_be_mixed() -> None:
    query, passage = _vectors(8), _vectors(20)
    scores = compute_maxsim(
        query, [pack_token_vectors(passage), pack_token_vectors(passage, "float16")]
    )
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_a_passage_that_holds_the_query_has_one() -> None:
    query = _vectors(5)
    passage = np.concatenate([_vectors(10), query, _vectors(10)])
    scores = compute_maxsim(query, [pack_token_vectors(passage), pack_token_vectors(-query)])
    assert scores[0] == pytest.approx(1, abs=0.01)
    assert scores[1] < 0.5


def test_a_passage_without_tokens_is_least() -> None:
    query = _vectors(3)
    empty, passage = pack_token_vectors(_vectors(0)), pack_token_vectors(_vectors(4))
    alone = compute_maxsim(query, [passage])[0]
    for packed in ([empty, passage], [passage, empty], [empty, passage, empty, empty]):
        scores = compute_maxsim(query, packed)
        assert scores.tolist() == [alone if data is passage else -1.0 for data in packed]
    assert compute_maxsim(query, [empty]).tolist() == [-1.0]
    assert compute_maxsim(query, []).shape == (0,)


def test_what_cannot_be_compared_is_refused() -> None:
    passage = pack_token_vectors(_vectors(4))
    with pytest.raises(UnreadableTokenVectors, match="96 dimensions, the stored ones 64"):
        compute_maxsim(_vectors(2, 96), [passage])
    with pytest.raises(UnreadableTokenVectors):
        compute_maxsim(_vectors(2), [passage, passage[:-1]])
    with pytest.raises(ValueError, match="a query has the shape"):
        compute_maxsim(_vectors(0), [passage])


FUSED = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5}


def test_maxsim_orders_what_it_has_scored_and_the_rest_follows() -> None:
    maxsim = {"a": 0.1, "c": 0.9, "d": 0.5}
    assert order_by_maxsim(FUSED, maxsim, fused_weight=0) == ["c", "d", "a", "b", "e"]
    assert order_by_maxsim(FUSED, {}, fused_weight=0) == list(FUSED)
    assert order_by_maxsim({}, {}, fused_weight=0) == []


def test_equals_keep_their_order() -> None:
    maxsim = dict.fromkeys("dcba", 0.3)
    assert order_by_maxsim(FUSED, maxsim, fused_weight=0) == list(FUSED)


def test_the_score_so_far_is_weighed_beside_maxsim() -> None:
    maxsim = {"a": 0.0, "b": 0.05, "c": 0.15}
    assert order_by_maxsim(FUSED, maxsim, fused_weight=0.5)[:3] == ["c", "a", "b"]
    assert order_by_maxsim(FUSED, maxsim, fused_weight=2)[:3] == ["a", "b", "c"]
