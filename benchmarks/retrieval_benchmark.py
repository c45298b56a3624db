"""Speed and exactness of retrieval: ingest, a query's way, INT8, HNSW, a peer.

`SLUICE_PEER_PYTHON` may name an interpreter that has sentence-transformers; without it that
comparison is left out.
"""

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy
import uvloop
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.environment import only_these_settings
from benchmarks.figures import Figure, Reference, require
from benchmarks.platform_servers import running_platform_servers
from benchmarks.projection_loss import measure_projection_loss
from benchmarks.retrieval_corpus import RARE_COLLECTION, add_variations, ingest_files
from benchmarks.retrieval_texts import find_pages, write_small_pages
from contracts.settings import EncoderSettings, RetrievalSettings, load_settings, with_psycopg
from contracts.tables import document_chunks
from knowledge.documents import find_documents
from knowledge.embedded_text import stored_text_to_embed
from knowledge.encoding.builtin_model import package_dir
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.loading import load_encoder
from knowledge.encoding.remote_encoder import RemoteEncoder
from knowledge.engine_connections import EngineConnections
from knowledge.hybrid_search import HybridIndex
from knowledge.ports import FloatArray, SearchFilters
from sluice.servers.encoder import encoder_process
from tests.support.ports import free_port
from tests.support.processes import running

PEER_VARIABLE = "SLUICE_PEER_PYTHON"

_PEER_SCRIPT = Path(__file__).parent / "sentence_transformers_peer.py"
_SEED = 5
_LABELS = {
    "whole": "a query from end to end",
    "embed": "stage embed",
    "search": "stage search, embed included",
    "rerank": "stage rerank",
}
_TOP_K = 10


@dataclass(frozen=True)
class _Size:
    real_chunks: int
    all_chunks: int
    queries: int
    compared_texts: int


_FULL = _Size(real_chunks=12_000, all_chunks=100_000, queries=300, compared_texts=600)
_QUICK = _Size(real_chunks=120, all_chunks=2_000, queries=20, compared_texts=60)


@dataclass
class _Latencies:
    """Seconds of each query, by stage; `whole` is a search from end to end."""

    whole: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)


def run_retrieval_benchmark(
    folder: Path, *, is_quick: bool, say: Callable[[str], None]
) -> list[Figure]:
    """Ingest documentation, fill up to the full size, search, compare.

    Raises:
        InvariantBroken: a search was degraded, or the documentation is not installed.
    """
    size = _QUICK if is_quick else _FULL
    peer_python = os.environ.get(PEER_VARIABLE)
    if is_quick:
        files = write_small_pages(folder / "pages")
    else:
        files = list(find_documents(find_pages()))
        random.Random(_SEED).shuffle(files)
    with ExitStack() as stack:
        stack.enter_context(only_these_settings(folder, {}))
        servers = stack.enter_context(running_platform_servers(folder))
        database_url = with_psycopg(servers.database_url)
        engine = load_encoder(EncoderSettings(), folder / "models")
        database = sqlalchemy.create_engine(database_url)
        with database.connect() as connection:
            ingest = ingest_files(connection, files, engine, chunk_limit=size.real_chunks)
            say(f"{ingest.chunk_count:,} chunks in {ingest.seconds:.1f} s")
            started = time.perf_counter()
            add_variations(connection, max(size.all_chunks, ingest.chunk_count), say=say)
            say(f"copied and indexed in {time.perf_counter() - started:.1f} s")
            texts = _read_texts(connection, size)
        database.dispose()
        tokens_alone = _document_tokens_per_second(engine, texts.compared)
        figures = [
            Figure(
                "retrieval: ingest, chunks",
                ingest.chunks_per_second,
                "chunks/s",
                Reference("encoding alone", tokens_alone / ingest.tokens_per_chunk),
            ),
            Figure(
                "retrieval: ingest, tokens",
                ingest.token_count / ingest.seconds,
                "tokens/s",
                Reference("encoding alone", tokens_alone),
            ),
        ]
        variables = {
            "SLUICE_DATA_DIR": str(folder),
            "SLUICE_ENCODER_PORT": str(free_port()),
            "SLUICE_ENCODER_GRPC_PORT": str(free_port()),
        }
        stack.enter_context(only_these_settings(folder, variables))
        encoder = load_settings().encoder
        stack.enter_context(
            running(encoder_process(encoder, variables), log=folder / "encoder.log")
        )
        latencies, recalls = uvloop.run(_search(database_url, encoder, texts.queries, engine))
        figures += _latency_figures(latencies, _time_queries(engine, texts.queries))
        figures += recalls
        figures += _compare_precisions(engine, folder, texts)
        if peer_python:
            figures += _compare_with_peer(Path(peer_python), engine, texts, say)
        else:
            say(f"{PEER_VARIABLE} is not set: sentence-transformers is left out")
    return figures


@dataclass(frozen=True)
class _Texts:
    compared: list[str]
    """Chunks as they are embedded."""
    contents: list[str]
    """Of the same chunks, without title and headings."""
    own_headings: list[str]
    """The innermost one of each."""
    queries: list[str]
    """Headings of all chunks."""


def _read_texts(connection: sqlalchemy.Connection, size: _Size) -> _Texts:
    rows = connection.execute(
        select(document_chunks.c.headings, document_chunks.c.content)
        .where(document_chunks.c.collection == "real")
        .order_by(document_chunks.c.chunk_id)
    ).all()
    queries = sorted({_innermost(row.headings) for row in rows})
    random.Random(_SEED).shuffle(queries)
    compared = rows[: size.compared_texts]
    return _Texts(
        compared=[stored_text_to_embed(row.headings, row.content) for row in compared],
        contents=[row.content for row in compared],
        own_headings=[_innermost(row.headings) for row in compared],
        queries=queries[: size.queries],
    )


def _innermost(headings: str) -> str:
    return headings.rsplit("\n", 1)[-1]


async def _search(
    database_url: str, encoder: EncoderSettings, queries: Sequence[str], engine: EncoderEngine
) -> tuple[_Latencies, list[Figure]]:
    database = create_async_engine(database_url)
    remote = RemoteEncoder(encoder.target, timeout_seconds=10)
    settings = RetrievalSettings(rerank="on", timeout_seconds=30)
    index = HybridIndex(EngineConnections(database), remote, settings, encoder_timeout_seconds=10)
    latencies = _Latencies()
    try:
        for query in queries[:20]:  # connections, caches
            await index.search(query, top_k=_TOP_K)
        for query in queries:
            started = time.perf_counter()
            result = await index.search(query, top_k=_TOP_K)
            latencies.whole.append(time.perf_counter() - started)
            require(result.error is None, f"a search was degraded: {result.error}")
            for stage in result.stages:
                latencies.stages.setdefault(stage.name, []).append(stage.duration_seconds)
        recalls = [
            await _measure_recall(index, database_url, queries, engine, name, filters)
            for name, filters in (
                ("no filter", SearchFilters()),
                ("filter of 1 % selectivity", SearchFilters(collections=(RARE_COLLECTION,))),
            )
        ]
    finally:
        await remote.close()
        await database.dispose()
    return latencies, recalls


async def _measure_recall(
    index: HybridIndex,
    database_url: str,
    queries: Sequence[str],
    engine: EncoderEngine,
    name: str,
    filters: SearchFilters,
) -> Figure:
    """Compare the vector stage with exact distances, computed here."""
    database = sqlalchemy.create_engine(database_url)
    statement = select(document_chunks.c.chunk_id, document_chunks.c.embedding)
    if filters.collections:
        statement = statement.where(document_chunks.c.collection.in_(filters.collections))
    with database.connect() as connection:
        rows = connection.execute(statement).all()
    database.dispose()
    matrix = np.array([row.embedding for row in rows], np.float32)
    ids = [str(row.chunk_id) for row in rows]
    found = 0
    for query in queries[:100]:
        result = await index.search_stage(query, stage="vector", top_k=_TOP_K, filters=filters)
        [encoding] = engine.encode([query], kind="query")
        scores = matrix @ encoding.dense
        nearest = {ids[position] for position in np.argsort(-scores)[:_TOP_K]}
        found += len(nearest & {passage.chunk_id for passage in result.passages})
    asked = len(queries[:100]) * _TOP_K
    return Figure(
        f"retrieval: recall@10 of the vector search, {name}",
        found / asked,
        "share",
        Reference("exact", 1.0),
    )


def _time_queries(engine: EncoderEngine, queries: Sequence[str]) -> list[float]:
    seconds = []
    for query in queries:
        started = time.perf_counter()
        engine.encode([query], kind="query", with_tokens=True)
        seconds.append(time.perf_counter() - started)
    return seconds


def _latency_figures(latencies: _Latencies, embed_alone: Sequence[float]) -> list[Figure]:
    floor = Reference("embedding the query in process, p50", _quantile(embed_alone, 0.5) * 1000)
    named = {"whole": latencies.whole, **latencies.stages}
    return [
        Figure(
            f"retrieval: {_LABELS[name]}, p{round(share * 100)}",
            _quantile(seconds, share) * 1000,
            "ms",
            floor,
        )
        for name, seconds in named.items()
        for share in (0.5, 0.95)
    ]


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share))


def _compare_precisions(engine: EncoderEngine, folder: Path, texts: _Texts) -> list[Figure]:
    exact = load_encoder(EncoderSettings(precision="fp32"), folder / "models")
    best = [
        np.argsort(
            -(_dense(each, texts.queries, "query") @ _dense(each, texts.compared, "document").T)
        )[:, :_TOP_K]
        for each in (engine, exact)
    ]
    overlap = statistics.mean(
        len(set(quantized) & set(reference)) / _TOP_K
        for quantized, reference in zip(*best, strict=True)
    )
    return [
        Figure(
            "retrieval: top 10 of INT8 that are in the top 10 of fp32",
            overlap,
            "share",
            Reference("fp32", 1.0),
        ),
        measure_projection_loss(exact, folder / "whole-model", texts.contents, texts.own_headings),
    ]


def _dense(engine: EncoderEngine, texts: Sequence[str], kind: str) -> FloatArray:
    encodings = engine.encode(texts, kind="query" if kind == "query" else "document")
    return np.array([each.dense for each in encodings])


def _compare_with_peer(
    python: Path,
    engine: EncoderEngine,
    texts: _Texts,
    say: Callable[[str], None],
) -> list[Figure]:
    """The same texts, the same cores, one after the other, ours before and after the peer."""
    say("sentence-transformers …")
    rates = [_documents_per_second(engine, texts.compared)]
    task = {
        "documents": texts.compared,
        "queries": texts.queries[:100],
        "threads": len(os.sched_getaffinity(0)),
    }
    result = subprocess.run(
        [str(python), str(_PEER_SCRIPT), str(package_dir())],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    require(result.returncode == 0, f"the peer failed: {result.stderr[-1000:]}")
    peer = json.loads(result.stdout)
    rates.append(_documents_per_second(engine, texts.compared))
    _require_like_similarities(engine, texts.compared, np.array(peer["vectors"], np.float32))
    own_query = _quantile(_time_queries(engine, texts.queries[:100]), 0.5)
    return [
        Figure(
            "retrieval: texts encoded",
            statistics.mean(rates),
            "texts/s",
            Reference("sentence-transformers", peer["documents_per_second"]),
        ),
        Figure(
            "retrieval: one query encoded, p50",
            own_query * 1000,
            "ms",
            Reference("sentence-transformers", peer["query_seconds"] * 1000),
        ),
    ]


def _documents_per_second(engine: EncoderEngine, texts: Sequence[str]) -> float:
    seconds, _ = _time_documents(engine, texts, with_tokens=False)
    return len(texts) / seconds


def _document_tokens_per_second(engine: EncoderEngine, texts: Sequence[str]) -> float:
    seconds, tokens = _time_documents(engine, texts, with_tokens=True)
    return tokens / seconds


def _time_documents(
    engine: EncoderEngine, texts: Sequence[str], *, with_tokens: bool
) -> tuple[float, int]:
    """Return the seconds that `texts` took, and their tokens."""
    started = time.perf_counter()
    encodings = engine.encode(texts, kind="document", with_tokens=with_tokens)
    seconds = time.perf_counter() - started
    return seconds, sum(each.token_count for each in encodings)


def _require_like_similarities(
    engine: EncoderEngine, texts: Sequence[str], vectors: FloatArray
) -> None:
    """Both must have encoded the same: their texts are similar to the same texts."""
    own = _dense(engine, texts, "document")
    correlation = np.corrcoef((own @ own.T).ravel(), (vectors @ vectors.T).ravel())[0, 1]
    require(correlation > 0.97, f"similarities correlate by {correlation:.3f} only")
