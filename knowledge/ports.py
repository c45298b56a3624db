"""What the domain asks of the world, as protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from contracts.payloads import Candidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EmbeddingKind = Literal["query", "document"]
SearchMethod = Literal["text", "vector", "hybrid"]
StageName = Literal["embed", "search", "rerank"]

if TYPE_CHECKING:
    FloatArray = NDArray[np.float32]
else:
    # A gateway without retrieval handles no vector, and need not have numpy in memory.
    FloatArray = Any


@dataclass(frozen=True)
class EncoderModel:
    """What must be known of a model to store and compare its vectors."""

    name: str
    """Vectors of two names are not comparable: it tells checkpoint, heads and precision apart."""
    dimensions: int
    """Of the dense vector of a text."""
    token_dimensions: int | None
    """Of each of its token vectors; None for a model without late interaction."""
    is_rerank_recommended: bool
    """Whether the evaluation of this model found MaxSim to improve on the fused order."""
    max_query_tokens: int
    max_document_tokens: int
    """What is longer is cut off by the encoder."""


@dataclass(frozen=True)
class Encoding:
    """The vectors of one text."""

    dense: FloatArray
    """Shape (dimensions,), L2-normalised."""
    tokens: FloatArray | None
    """Shape (tokens, token_dimensions), each row L2-normalised; None where not asked for."""
    token_count: int
    """Tokens that went through the model, prefix and special tokens included."""


class EncoderUnavailable(Exception):
    """The encoder cannot be reached, broke down, or did not answer in time."""


class EncoderOverloaded(EncoderUnavailable):
    """The encoder's queue is full; it may be asked again after `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class EncoderRefused(EncoderUnavailable, ValueError):
    """The encoder takes no such text: asking again does not help, another text may."""


class Encoder(Protocol):
    """Turns texts into vectors. `query` and `document` are different inputs."""

    async def describe(self) -> EncoderModel:
        """Return the model that is served. Raises EncoderUnavailable."""
        ...

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Raises:
            EncoderUnavailable: no answer; `EncoderOverloaded` where trying later may help.
        """
        ...


class RemoteEncoding(Encoder, Protocol):
    """An encoder in another process."""

    async def encode(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        timeout_seconds: float | None = None,
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Args:
            timeout_seconds: for each call, in place of the encoder's own.

        Raises:
            EncoderUnavailable: no answer; `EncoderOverloaded` where trying later may help,
                `EncoderRefused` where it does not.
        """
        ...

    async def close(self) -> None:
        """Disconnect; calls that are under way fail."""
        ...


class BlockingEncoder(Protocol):
    """An encoder for code without an event loop."""

    @property
    def model(self) -> EncoderModel:
        """The model that is served. Raises EncoderUnavailable."""
        ...

    def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Raises:
            EncoderUnavailable: no answer.
            ValueError: a text cannot be encoded.
        """
        ...


@dataclass(frozen=True)
class SearchFilters:
    """Which chunks a search may find. All conditions must hold."""

    collections: tuple[str, ...] = ()
    """Empty: any."""
    sources: tuple[str, ...] = ()
    """Paths or URLs of documents; empty: any."""
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Values that the document's attributes must have."""


NO_FILTERS = SearchFilters()


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
    """Cosine similarity of query and passage, -1 to 1."""
    fused_score: float | None = None
    """Of text and vector search together; the scale is that of the setting `fusion`."""
    maxsim_score: float | None = None
    """Mean over the query's tokens of the best similarity with one of the passage's, -1 to 1."""


@dataclass(frozen=True)
class SearchStage:
    """One stage of a search, done or failed."""

    name: StageName
    started: float
    """`time.perf_counter()` seconds."""
    duration_seconds: float
    error: str | None = None
    """Why the stage failed; the search went on without it."""


@dataclass(frozen=True)
class SearchResult:
    """Passages, and how they were found."""

    passages: list[Passage]
    """At most `top_k`, best first."""
    method: SearchMethod
    """The stages that did contribute."""
    candidates: list[Candidate] = field(default_factory=list)
    """Everything that was ranked, best first; `passages` is a selection of it."""
    stages: list[SearchStage] = field(default_factory=list)
    embedding_model: str | None = None
    rerank_model: str | None = None
    """None where MaxSim did not rank."""
    query_tokens: int | None = None
    """Tokens of the query, as the encoder counted them."""
    dimensions: int | None = None

    @property
    def error(self) -> str | None:
        """Why the search is degraded; None where every stage that is on was done."""
        return next((stage.error for stage in self.stages if stage.error is not None), None)


class PassageIndex(Protocol):
    """Finds passages for a question."""

    async def search(
        self,
        query: str,
        *,
        top_k: int,
        filters: SearchFilters = NO_FILTERS,
        min_score: float | None = None,
    ) -> SearchResult:
        """Return at most `top_k` passages, best first; none where nothing matches.

        Args:
            min_score: least cosine similarity of a passage. Without an encoder no passage can be
                shown to have it, and none is returned.

        Raises:
            SearchUnavailable: nothing could be searched. A stage alone that fails is in the
                result.
        """
        ...


class SearchUnavailable(Exception):
    """The passage index cannot be reached or did not answer."""
