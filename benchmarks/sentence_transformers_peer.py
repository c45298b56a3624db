"""Measures sentence-transformers on CPU; run by an interpreter of its own that has the package.

    python sentence_transformers_peer.py MODEL_FOLDER < texts.json > figures.json

Input: {"documents": [text], "queries": [text], "threads": cores}. Output: documents per second,
the median seconds of one query, and each document's vector, 384 floats.
"""

import json
import statistics
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

_BATCH_SIZE = 32
"""The package's own default."""


def main() -> None:
    """Read the texts, encode them, print the figures."""
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    model = SentenceTransformer(sys.argv[1], device="cpu")
    model.encode(task["documents"][:_BATCH_SIZE])
    started = time.perf_counter()
    vectors = model.encode(task["documents"], batch_size=_BATCH_SIZE, normalize_embeddings=True)
    document_seconds = time.perf_counter() - started
    query_seconds = []
    for query in task["queries"]:
        started = time.perf_counter()
        model.encode([query], normalize_embeddings=True)
        query_seconds.append(time.perf_counter() - started)
    json.dump(
        {
            "documents_per_second": len(task["documents"]) / document_seconds,
            "query_seconds": statistics.median(query_seconds),
            "vectors": vectors.tolist(),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
