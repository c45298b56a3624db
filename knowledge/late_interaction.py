"""Late interaction: passages scored by their token vectors against those of the query."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from knowledge.ports import FloatArray
from knowledge.token_vectors import INT8_SCALE, UnreadableTokenVectors, view_token_vectors

Item = TypeVar("Item")

_LEAST_SCORE = -1.0
"""Of a passage without a token: no other could be less similar."""
_BLOCK_PRODUCTS = 65_536
"""Multiplications of one matrix product. OpenBLAS gives a product of over four times as many to
a pool of threads; on two busy cores waiting for that pool takes ten times as long as the work."""


def compute_maxsim(query: FloatArray, passages: Sequence[bytes | memoryview]) -> FloatArray:
    """Return the MaxSim score of each passage, -1 to 1, shape (passages,).

    For each token of the query the best cosine with a token of the passage counts. The score is
    their mean: the sum of Khattab and Zaharia, "ColBERT" (SIGIR 2020, section 3.3), over the
    number of the query's tokens, so that the scores of all queries are on one scale.

    Args:
        query: shape (tokens, dimensions), at least one token, each row L2-normalised.
        passages: as `pack_token_vectors` makes them.

    Raises:
        UnreadableTokenVectors: a passage's bytes cannot be read, or its vectors are not of the
            query's dimensions.
        ValueError: the query has no token.
    """
    if query.ndim != 2 or 0 in query.shape:
        raise ValueError(f"a query has the shape (tokens, dimensions), not {query.shape}")
    matrices = [view_token_vectors(passage) for passage in passages]
    for matrix in matrices:
        if matrix.shape[1] != query.shape[1]:
            raise UnreadableTokenVectors(
                f"the query's token vectors have {query.shape[1]} dimensions, "
                f"the stored ones {matrix.shape[1]}"
            )
    scores = np.full(len(matrices), _LEAST_SCORE, dtype=np.float32)
    # An empty segment would get the value of the row after it.
    filled = [number for number, matrix in enumerate(matrices) if len(matrix)]
    if not filled:
        return scores
    kept = [matrices[number] for number in filled]
    lengths = np.array([len(matrix) for matrix in kept])
    best = np.maximum.reduceat(_multiply(kept, query), np.cumsum(lengths) - lengths, axis=0)
    scales = np.array([INT8_SCALE if matrix.dtype == np.int8 else 1.0 for matrix in kept])
    scores[filled] = best.mean(axis=1) / scales
    return scores


def _multiply(matrices: Sequence[NDArray[Any]], query: FloatArray) -> FloatArray:
    """The products of all rows of `matrices` with those of `query`, shape (rows, query's rows)."""
    query_rows, dimensions = query.shape
    row_count = sum(len(matrix) for matrix in matrices)
    block_rows = max(1, _BLOCK_PRODUCTS // (query_rows * dimensions))
    block_count = -(-row_count // block_rows)
    joined = np.empty((block_count * block_rows, dimensions), dtype=np.float32)
    np.concatenate(matrices, out=joined[:row_count])
    joined[row_count:] = 0
    blocks = joined.reshape(block_count, block_rows, dimensions)
    products: FloatArray = np.matmul(blocks, query.T).reshape(-1, query_rows)[:row_count]
    return products


def order_by_maxsim(
    fused: Mapping[Item, float], maxsim: Mapping[Item, float], *, fused_weight: float
) -> list[Item]:
    """Return all IDs of `fused`, best first: those with a MaxSim score, then the rest as before.

    Args:
        fused: ID to score of the order so far, best first.
        maxsim: ID to MaxSim score, for some of them.
        fused_weight: of the score so far in the sum with MaxSim. With 0 MaxSim alone decides, and
            the order so far between equals.
    """
    scored = [item for item in fused if item in maxsim]
    scored.sort(key=lambda item: -(fused_weight * fused[item] + maxsim[item]))
    return [*scored, *(item for item in fused if item not in maxsim)]
