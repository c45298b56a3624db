"""MaxSim scores as the rerank interfaces give them."""

import numpy as np

from knowledge.ports import FloatArray


def rank(scores: FloatArray) -> list[int]:
    """Return the texts' positions, best first, equals in the order they came in."""
    return [int(index) for index in np.argsort(-scores, kind="stable")]


def to_relevance(scores: FloatArray) -> FloatArray:
    """Return MaxSim scores, -1 to 1, stretched to the 0 to 1 that clients know as relevance."""
    relevance: FloatArray = np.clip((scores + np.float32(1)) / np.float32(2), 0, 1)
    return relevance
