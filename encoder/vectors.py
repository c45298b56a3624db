"""Dense vectors as a request wants them."""

import numpy as np

from encoder.errors import InvalidRequest
from knowledge.ports import FloatArray


def cut_dimensions(vector: FloatArray, dimensions: int | None) -> FloatArray:
    """Return the first `dimensions` of `vector`, normalised again, or all.

    The built-in model's dimensions are in the order of their variance, so that the first ones
    say most.

    Raises:
        InvalidRequest: the vector has no so many.
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    if not 1 <= dimensions <= len(vector):
        raise InvalidRequest(
            f"`dimensions` is {dimensions}; the model has 1 to {len(vector)}.", param="dimensions"
        )
    kept = vector[:dimensions]
    length = float(np.linalg.norm(kept))
    return kept / np.float32(length) if length > 0 else kept
