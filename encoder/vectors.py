"""Dense vectors as a request wants them."""

from encoder.errors import InvalidRequest
from knowledge.encoding.shortening import shorten_vector
from knowledge.ports import FloatArray


def cut_dimensions(vector: FloatArray, dimensions: int | None) -> FloatArray:
    """Return the first `dimensions` of `vector`, normalised again, or all.

    Raises:
        InvalidRequest: the vector has no so many.
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    if not 1 <= dimensions <= len(vector):
        raise InvalidRequest(
            f"`dimensions` is {dimensions}; the model has 1 to {len(vector)}.", param="dimensions"
        )
    return shorten_vector(vector, dimensions)
