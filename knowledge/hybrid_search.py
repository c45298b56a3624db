"""Hybrid search: full text and vectors fused by rank, the best put in order by their tokens."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.payloads import Candidate
from contracts.settings import RetrievalSettings
from contracts.tables import document_chunks
from knowledge.chunk_reading import StoredChunk, read_chunks
from knowledge.corpus_statistics import CorpusStatisticsReader
from knowledge.late_interaction import compute_maxsim, order_by_maxsim
from knowledge.ports import (
    NO_FILTERS,
    Encoder,
    EncoderModel,
    Encoding,
    Passage,
    SearchFilters,
    SearchMethod,
    SearchResult,
    SearchStage,
    SearchUnavailable,
)
from knowledge.query_encoding import QueryEncoder, QueryEncodingFailed
from knowledge.rank_fusion import fuse_rankings
from knowledge.search_connections import SearchConnections
from knowledge.search_scope import SearchScope, read_scope
from knowledge.text_search import TextSearch, shorten_query
from knowledge.token_vectors import UnreadableTokenVectors
from knowledge.vector_search import VectorSearch

RetrievalStage = Literal["text", "vector", "hybrid", "hybrid+rerank"]
"""How far a search goes."""


@dataclass(frozen=True)
class _Depth:
    """Which parts of a search are wanted."""

    text: bool = True
    vector: bool = True
    rerank: Literal["auto", "on", "off"] = "off"


_DEPTHS: dict[RetrievalStage, _Depth] = {
    "text": _Depth(vector=False),
    "vector": _Depth(text=False),
    "hybrid": _Depth(),
    "hybrid+rerank": _Depth(rerank="on"),
}


@dataclass
class _Findings:
    """What the parts of one search brought; None for what did not run or failed."""

    text: dict[UUID, float] | None = None
    vector: dict[UUID, float] | None = None
    encoding: Encoding | None = None
    model: EncoderModel | None = None
    errors: list[str] = field(default_factory=list)
    """Of full-text and vector search, as part of the stage "search"."""
    stages: list[SearchStage] = field(default_factory=list)
    chunks: dict[UUID, StoredChunk] = field(default_factory=dict)
    maxsim: dict[UUID, float] = field(default_factory=dict)

    @property
    def method(self) -> SearchMethod:
        if self.vector is None:
            return "text"
        return "vector" if self.text is None else "hybrid"

    def vector_score(self, chunk_id: UUID) -> float | None:
        score = None if self.vector is None else self.vector.get(chunk_id)
        if score is None and chunk_id in self.chunks:
            return self.chunks[chunk_id].vector_score
        return score

    def finish_stage(
        self, name: Literal["embed", "search", "rerank"], started: float, error: str | None = None
    ) -> None:
        self.stages.append(SearchStage(name, started, perf_counter() - started, error))


class HybridIndex:
    """Passages by their words and by their meaning.

    The query's embedding and the full-text search run side by side, then the vector search; both
    orders are fused by reciprocal rank, and the best are put in order by MaxSim where that is on.
    A part that fails is left out and named in the result. Without an encoder, full text alone
    serves.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        encoder: Encoder | None,
        settings: RetrievalSettings,
        *,
        encoder_timeout_seconds: float = 1.0,
        rerank_weight: float = 1.0,
    ) -> None:
        """
        Args:
            engine: of a migrated database, driver psycopg. Stays the caller's to dispose of. A
                search uses up to two connections at a time.
            encoder: stays the caller's to close.
            encoder_timeout_seconds: after as long the search goes on without vectors.
            rerank_weight: share of MaxSim in the order, see `order_by_maxsim`.
        """
        self._settings = settings
        self._rerank_weight = rerank_weight
        self._connections = SearchConnections(engine, timeout_seconds=settings.timeout_seconds)
        self._statistics = CorpusStatisticsReader(self._connections)
        self._text_search = TextSearch(self._connections)
        self._vector_search = VectorSearch(self._connections, ef_search=settings.hnsw_ef_search)
        self._query_encoder = (
            None
            if encoder is None
            else QueryEncoder(encoder, timeout_seconds=encoder_timeout_seconds)
        )

    async def has_documents(self) -> bool:
        """Return whether anything has been ingested. Raises SearchUnavailable."""
        async with self._connections.open("looking for documents") as connection:
            found = await connection.scalar(select(document_chunks.c.chunk_id).limit(1))
            return found is not None

    async def search(
        self,
        query: str,
        *,
        top_k: int,
        filters: SearchFilters = NO_FILTERS,
        min_score: float | None = None,
    ) -> SearchResult:
        """Return at most `top_k` passages, best first, as `PassageIndex.search` says.

        Raises:
            SearchUnavailable: neither full text nor vectors could be searched.
        """
        depth = _Depth(vector=self._query_encoder is not None, rerank=self._settings.rerank)
        return await self._search(query, depth, top_k, filters, min_score)

    async def search_stage(
        self,
        query: str,
        *,
        stage: RetrievalStage,
        top_k: int,
        filters: SearchFilters = NO_FILTERS,
        min_score: float | None = None,
    ) -> SearchResult:
        """Search as far as `stage` says, whatever the settings: to compare the stages.

        Raises:
            SearchUnavailable: what `stage` needs could not be searched.
            ValueError: `stage` needs an encoder, and there is none.
        """
        depth = _DEPTHS[stage]
        if depth.vector and self._query_encoder is None:
            raise ValueError(f"the stage {stage!r} needs an encoder")
        return await self._search(query, depth, top_k, filters, min_score)

    async def _search(
        self,
        query: str,
        depth: _Depth,
        top_k: int,
        filters: SearchFilters,
        min_score: float | None,
    ) -> SearchResult:
        text = shorten_query(query)
        findings = _Findings()
        if not text or top_k < 1:
            return SearchResult([], _planned_method(depth))
        started = perf_counter()
        scope = await read_scope(self._connections, self._statistics, filters)
        limit = max(self._settings.candidates, top_k)
        async with asyncio.TaskGroup() as group:
            if depth.text:
                group.create_task(self._search_text(findings, text, limit, scope))
            if depth.vector:
                group.create_task(self._search_vectors(findings, text, depth, limit, scope))
        if findings.text is None and findings.vector is None:
            causes = [*findings.errors, *(stage.error for stage in findings.stages if stage.error)]
            # Without a vector in the database a search for vectors finds nothing, and has no error.
            if not causes:
                return SearchResult([], _planned_method(depth), stages=findings.stages)
            raise SearchUnavailable("; ".join(causes))

        fused = fuse_rankings(*map(list, filter(None, (findings.text, findings.vector))))
        reranked = list(fused)[: self._rerank_depth(findings)]
        wanted = list(fused)
        if min_score is None:
            wanted = wanted[: max(top_k, len(reranked))]
        await self._read_chunks(findings, wanted, reranked)
        findings.finish_stage("search", started, "; ".join(findings.errors) or None)
        order = await self._rerank(findings, fused, reranked)
        return _describe_result(findings, order, fused, top_k, min_score)

    async def _search_text(
        self, findings: _Findings, text: str, limit: int, scope: SearchScope
    ) -> None:
        try:
            findings.text = await self._text_search.rank(text, limit=limit, scope=scope)
        except SearchUnavailable as error:
            findings.errors.append(str(error))

    async def _search_vectors(
        self, findings: _Findings, text: str, depth: _Depth, limit: int, scope: SearchScope
    ) -> None:
        stored_model = scope.statistics.stored_model
        if self._query_encoder is None or stored_model is None:
            return
        started = perf_counter()
        try:
            findings.model, findings.encoding = await self._query_encoder.encode(
                text, stored_model, rerank=depth.rerank
            )
        except QueryEncodingFailed as error:
            findings.finish_stage("embed", started, str(error))
            return
        findings.finish_stage("embed", started)
        try:
            findings.vector = await self._vector_search.rank(
                findings.encoding.dense, limit=limit, scope=scope
            )
        except SearchUnavailable as error:
            findings.errors.append(str(error))

    def _rerank_depth(self, findings: _Findings) -> int:
        encoding = findings.encoding
        has_tokens = encoding is not None and encoding.tokens is not None and len(encoding.tokens)
        return self._settings.rerank_depth if has_tokens else 0

    async def _read_chunks(
        self, findings: _Findings, wanted: Sequence[UUID], reranked: Sequence[UUID]
    ) -> None:
        if not wanted:
            return
        # Where vectors could not be compared above, they are not to fail here again.
        is_compared = findings.encoding is not None and findings.vector is not None
        vector = findings.encoding.dense if findings.encoding and is_compared else None
        async with self._connections.open("reading the passages") as connection:
            findings.chunks = await read_chunks(
                connection, wanted, vector=vector, with_tokens=reranked
            )

    async def _rerank(
        self, findings: _Findings, fused: Mapping[UUID, float], reranked: Sequence[UUID]
    ) -> list[UUID]:
        packed = {
            chunk_id: findings.chunks[chunk_id].token_vectors
            for chunk_id in reranked
            if chunk_id in findings.chunks
        }
        stored = {chunk_id: data for chunk_id, data in packed.items() if data is not None}
        query = None if findings.encoding is None else findings.encoding.tokens
        if query is None or not stored:
            return list(fused)
        started = perf_counter()
        try:
            scores = await asyncio.to_thread(compute_maxsim, query, list(stored.values()))
        except UnreadableTokenVectors as error:
            findings.finish_stage("rerank", started, f"reranking failed: {error}")
            return list(fused)
        findings.maxsim = dict(zip(stored, scores.tolist(), strict=True))
        order = order_by_maxsim(fused, findings.maxsim, rerank_weight=self._rerank_weight)
        findings.finish_stage("rerank", started)
        return order


def _planned_method(depth: _Depth) -> SearchMethod:
    if not depth.vector:
        return "text"
    return "hybrid" if depth.text else "vector"


def _describe_result(
    findings: _Findings,
    order: Sequence[UUID],
    fused: Mapping[UUID, float],
    top_k: int,
    min_score: float | None,
) -> SearchResult:
    is_fused = findings.method == "hybrid"
    candidates = [
        Candidate(
            chunk_id=str(chunk_id),
            rank=rank,
            vector_score=findings.vector_score(chunk_id),
            text_score=None if findings.text is None else findings.text.get(chunk_id),
            fused_score=fused[chunk_id] if is_fused else None,
            maxsim_score=findings.maxsim.get(chunk_id),
        )
        for rank, chunk_id in enumerate(order, start=1)
    ]
    passages: list[Passage] = []
    for chunk_id, candidate in zip(order, candidates, strict=True):
        if len(passages) == top_k:
            break
        # One that is not there any more was replaced in the meantime.
        chunk = findings.chunks.get(chunk_id)
        if chunk is not None and _is_similar_enough(candidate, min_score):
            passages.append(_make_passage(chunk, candidate))
    encoding, model = findings.encoding, findings.model
    return SearchResult(
        passages=passages,
        method=findings.method,
        candidates=candidates,
        stages=findings.stages,
        embedding_model=model.name if model else None,
        rerank_model=model.name if model and findings.maxsim else None,
        query_tokens=encoding.token_count if encoding else None,
        dimensions=len(encoding.dense) if encoding else None,
    )


def _is_similar_enough(candidate: Candidate, min_score: float | None) -> bool:
    if min_score is None:
        return True
    return candidate.vector_score is not None and candidate.vector_score >= min_score


def _make_passage(chunk: StoredChunk, candidate: Candidate) -> Passage:
    return Passage(
        chunk_id=candidate.chunk_id,
        content=chunk.content,
        heading_path=chunk.heading_path,
        title=chunk.title,
        source=chunk.source,
        collection=chunk.collection,
        text_score=candidate.text_score,
        vector_score=candidate.vector_score,
        fused_score=candidate.fused_score,
        maxsim_score=candidate.maxsim_score,
    )
