"""Hybrid search: full text and vectors fused, the best put in order by their tokens too."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Literal
from uuid import UUID

from contracts.settings import RetrievalSettings
from knowledge.chunk_reading import compare_chunks, read_contents
from knowledge.corpus_statistics import CorpusStatisticsReader
from knowledge.database_pool import ConnectionSource
from knowledge.ports import (
    NO_FILTERS,
    Encoder,
    SearchFilters,
    SearchMethod,
    SearchResult,
    SearchUnavailable,
)
from knowledge.query_encoding import QueryEncoder, QueryEncodingFailed
from knowledge.rank_fusion import fuse_rankings, fuse_scores
from knowledge.search_connections import SearchConnection, SearchConnections
from knowledge.search_findings import SearchFindings
from knowledge.search_scope import SearchScope, read_scope
from knowledge.text_search import TextSearch, shorten_query
from knowledge.vector_search import VectorSearch

_FUSED_WEIGHT = {"scores": 0.5, "rrf": 0.0}
"""Of the fused score beside MaxSim, by the setting `fusion`. With scores, half did best on the
Python manual and was confirmed on the PostgreSQL manual; ranks have no scale to weigh."""

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


class HybridIndex:
    """Passages by their words and by their meaning.

    The query's embedding and the full-text search run side by side, then the vector search; both
    are fused, and the best are put in order by MaxSim too where that is on.
    A part that fails is left out and named in the result. Without an encoder, full text alone
    serves.
    """

    def __init__(
        self,
        source: ConnectionSource,
        encoder: Encoder | None,
        settings: RetrievalSettings,
        *,
        encoder_timeout_seconds: float = 1.0,
    ) -> None:
        """
        Args:
            source: of a migrated database. Stays the caller's to close. A search uses up to two
                connections at a time.
            encoder: stays the caller's to close.
            encoder_timeout_seconds: after as long the search goes on without vectors.
        """
        self._settings = settings
        self._connections = SearchConnections(
            source,
            timeout_seconds=settings.timeout_seconds,
            ef_search=settings.hnsw_ef_search,
        )
        self._statistics = CorpusStatisticsReader(self._connections)
        self._text_search = TextSearch(self._connections)
        self._vector_search = VectorSearch(self._connections)
        self._query_encoder = (
            None
            if encoder is None
            else QueryEncoder(encoder, timeout_seconds=encoder_timeout_seconds)
        )

    async def has_documents(self) -> bool:
        """Return whether anything has been ingested. Raises SearchUnavailable."""
        async with self._connections.open("looking for documents") as connection:
            found = await connection.execute("SELECT 1 FROM document_chunks LIMIT 1")
            return await found.fetchone() is not None

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
        findings = SearchFindings()
        if not text or top_k < 1:
            return SearchResult([], _planned_method(depth))
        started = perf_counter()
        scope = await read_scope(self._connections, self._statistics, filters)
        limit = max(self._settings.candidates, top_k)
        await self._search_parts(findings, text, depth, limit, scope)
        if findings.text is None and findings.vector is None:
            causes = [*findings.errors, *(stage.error for stage in findings.stages if stage.error)]
            # Without a vector in the database a search for vectors finds nothing, and has no error.
            if not causes:
                return SearchResult([], _planned_method(depth), stages=findings.stages)
            raise SearchUnavailable("; ".join(causes))

        findings.fused = self._fuse(findings)
        findings.finish_stage("search", started, "; ".join(findings.errors) or None)
        if not findings.fused:
            return findings.describe([], [], {})
        async with self._connections.open("reading the passages") as connection:
            order = await self._put_in_order(connection, findings, top_k, min_score)
            best = findings.select_best(order, top_k, min_score)
            contents = await read_contents(connection, best)
        return findings.describe(order, best, contents)

    async def _search_parts(
        self, findings: SearchFindings, text: str, depth: _Depth, limit: int, scope: SearchScope
    ) -> None:
        """Search by words and by meaning side by side, as far as they are wanted."""
        if not depth.vector:
            return await self._search_text(findings, text, limit, scope)
        if not depth.text:
            return await self._search_vectors(findings, text, depth, limit, scope)
        # Not a TaskGroup: one that is cancelled stays in memory, with all that its frames hold,
        # until the collector looks at its generation, which is minutes under load.
        by_words = asyncio.create_task(self._search_text(findings, text, limit, scope))
        try:
            await self._search_vectors(findings, text, depth, limit, scope)
            await by_words
        except BaseException:
            by_words.cancel()
            await asyncio.wait([by_words])
            raise
        return None

    def _fuse(self, findings: SearchFindings) -> Mapping[UUID, float]:
        text, vector = findings.text or {}, findings.vector or {}
        if self._settings.fusion == "rrf":
            return fuse_rankings(list(text), list(vector))
        compared = {
            chunk_id: chunk.vector_score
            for chunk_id, chunk in findings.compared.items()
            if chunk.vector_score is not None
        }
        return fuse_scores(text, vector, compared)

    async def _search_text(
        self, findings: SearchFindings, text: str, limit: int, scope: SearchScope
    ) -> None:
        try:
            findings.text = await self._text_search.rank(text, limit=limit, scope=scope)
        except SearchUnavailable as error:
            findings.errors.append(str(error))

    async def _search_vectors(
        self, findings: SearchFindings, text: str, depth: _Depth, limit: int, scope: SearchScope
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

    async def _put_in_order(
        self,
        connection: SearchConnection,
        findings: SearchFindings,
        top_k: int,
        min_score: float | None,
    ) -> list[UUID]:
        """Compare the best candidates' vectors with the query's; return the final order."""
        order = list(findings.fused)
        encoding = findings.encoding
        # Where the search for vectors failed, comparing them would fail again.
        if encoding is None or findings.vector is None:
            return order
        started = perf_counter()
        has_tokens = encoding.tokens is not None and len(encoding.tokens) > 0
        depth = self._settings.rerank_depth
        reranked = order[:depth] if has_tokens else []
        shown = order if min_score is not None else order[: max(top_k, depth)]
        wanted = {*reranked, *(each for each in shown if each not in findings.vector)}
        if wanted:
            findings.compared = await compare_chunks(
                connection, wanted, encoding.dense, with_tokens=reranked
            )
            findings.fused = self._fuse(findings)
            order = list(findings.fused)
        packed = {
            chunk_id: chunk.token_vectors
            for chunk_id, chunk in findings.compared.items()
            if chunk.token_vectors is not None
        }
        if encoding.tokens is None or not packed:
            return order
        # Here, since a search without vectors needs no numpy.
        from knowledge.late_interaction import compute_maxsim, order_by_maxsim
        from knowledge.token_vectors import UnreadableTokenVectors

        try:
            scores = await asyncio.to_thread(compute_maxsim, encoding.tokens, list(packed.values()))
        except UnreadableTokenVectors as error:
            findings.finish_stage("rerank", started, f"reranking failed: {error}")
            return order
        findings.maxsim = dict(zip(packed, scores.tolist(), strict=True))
        order = order_by_maxsim(
            findings.fused, findings.maxsim, fused_weight=_FUSED_WEIGHT[self._settings.fusion]
        )
        findings.finish_stage("rerank", started)
        return order


def _planned_method(depth: _Depth) -> SearchMethod:
    if not depth.vector:
        return "text"
    return "hybrid" if depth.text else "vector"
