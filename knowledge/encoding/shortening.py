"""Dense vectors of fewer dimensions."""

from knowledge.ports import FloatArray


def shorten_vector(vector: FloatArray, dimensions: int) -> FloatArray:
    """Return the first `dimensions` of an L2-normalised vector, normalised again.

    The built-in model's dimensions are in the order of their variance, so that the first ones say
    most; models trained for it (Kusupati et al. 2022, Matryoshka) are meant to be cut.
    """
    if dimensions >= len(vector):
        return vector
    import numpy as np

    kept = vector[:dimensions]
    length = float(np.linalg.norm(kept))
    return kept / np.float32(length) if length > 0 else kept
