"""The model whose vectors are stored."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredModel:
    """A row of `embedding_models`."""

    name: str
    dimensions: int
    token_dimensions: int | None

    def __str__(self) -> str:
        return f"{self.name!r} ({self.dimensions} dimensions)"
