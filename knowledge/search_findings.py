"""What the parts of one search brought, and the result made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from uuid import UUID

from contracts.payloads import Candidate
from knowledge.chunk_reading import ChunkContent, ComparedChunk
from knowledge.ports import (
    EncoderModel,
    Encoding,
    Passage,
    SearchMethod,
    SearchResult,
    SearchStage,
    StageName,
)


@dataclass
class SearchFindings:
    """Filled in as the parts of a search are done; None is what did not run or failed."""

    text: Mapping[UUID, float] | None = None
    """Scores by full text, best first."""
    vector: Mapping[UUID, float] | None = None
    """Cosine similarities of the nearest chunks, best first."""
    model: EncoderModel | None = None
    encoding: Encoding | None = None
    """Of the query."""
    fused: Mapping[UUID, float] = field(default_factory=dict)
    """Scores of all that was found, best first."""
    compared: Mapping[UUID, ComparedChunk] = field(default_factory=dict)
    maxsim: Mapping[UUID, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    """Of full-text and vector search, which together are the stage "search"."""
    stages: list[SearchStage] = field(default_factory=list)

    def finish_stage(self, name: StageName, started: float, error: str | None = None) -> None:
        """Record the stage that began at `started` (`time.perf_counter()`) as ended now."""
        self.stages.append(SearchStage(name, started, perf_counter() - started, error))

    @property
    def method(self) -> SearchMethod:
        """What contributed."""
        if self.vector is None:
            return "text"
        return "vector" if self.text is None else "hybrid"

    def vector_score(self, chunk_id: UUID) -> float | None:
        """Return the chunk's cosine similarity with the query where it is known."""
        if self.vector is not None and chunk_id in self.vector:
            return self.vector[chunk_id]
        return self.compared[chunk_id].vector_score if chunk_id in self.compared else None

    def select_best(self, order: Sequence[UUID], top_k: int, min_score: float | None) -> list[UUID]:
        """Return the first `top_k` of `order` that have at least `min_score`."""
        if min_score is None:
            return list(order[:top_k])
        scored = ((chunk_id, self.vector_score(chunk_id)) for chunk_id in order)
        similar = [each for each, score in scored if score is not None and score >= min_score]
        return similar[:top_k]

    def describe(
        self,
        order: Sequence[UUID],
        best: Sequence[UUID],
        contents: Mapping[UUID, ChunkContent],
    ) -> SearchResult:
        """Return the result.

        Args:
            order: all candidates, best first.
            best: those to be shown.
            contents: of `best`; a chunk that was replaced in the meantime is not there.
        """
        candidates = {
            chunk_id: Candidate(
                chunk_id=str(chunk_id),
                rank=rank,
                vector_score=self.vector_score(chunk_id),
                text_score=None if self.text is None else self.text.get(chunk_id),
                fused_score=self.fused[chunk_id] if self.method == "hybrid" else None,
                maxsim_score=self.maxsim.get(chunk_id),
            )
            for rank, chunk_id in enumerate(order, start=1)
        }
        model_name = None if self.model is None else self.model.name
        return SearchResult(
            passages=[
                _make_passage(contents[chunk_id], candidates[chunk_id])
                for chunk_id in best
                if chunk_id in contents
            ],
            method=self.method,
            candidates=list(candidates.values()),
            stages=self.stages,
            embedding_model=model_name,
            rerank_model=model_name if self.maxsim else None,
            query_tokens=None if self.encoding is None else self.encoding.token_count,
            dimensions=None if self.encoding is None else len(self.encoding.dense),
        )


def _make_passage(content: ChunkContent, candidate: Candidate) -> Passage:
    return Passage(
        chunk_id=candidate.chunk_id,
        content=content.content,
        heading_path=content.heading_path,
        title=content.title,
        source=content.source,
        collection=content.collection,
        text_score=candidate.text_score,
        vector_score=candidate.vector_score,
        fused_score=candidate.fused_score,
        maxsim_score=candidate.maxsim_score,
    )
