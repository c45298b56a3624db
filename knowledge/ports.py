"""What the domain asks of the world, as protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

EmbeddingKind = Literal["query", "document"]


@dataclass(frozen=True)
class Passage:
    """A chunk of a document that a search found."""

    chunk_id: str
    content: str
    heading_path: tuple[str, ...]
    title: str
    source: str
    """Path or URL the document came from."""
    collection: str
    text_score: float | None = None
    vector_score: float | None = None
    maxsim_score: float | None = None


class PassageIndex(Protocol):
    """Finds passages for a question."""

    async def search(
        self, query: str, *, top_k: int, collection: str | None = None
    ) -> list[Passage]:
        """Return at most `top_k` passages, best first; none where nothing matches.

        Raises:
            SearchUnavailable: the index cannot be reached.
        """
        ...


class SearchUnavailable(Exception):
    """The passage index cannot be reached or did not answer."""


class Encoder(Protocol):
    """Turns texts into vectors. `query` and `document` are different inputs."""

    @property
    def model(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def embed(
        self, texts: Sequence[str], *, kind: EmbeddingKind
    ) -> Sequence[Sequence[float]]:
        """Return one L2-normalised vector of `dimensions` float32 per text."""
        ...
