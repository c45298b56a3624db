"""What the projection from 384 to 256 dimensions costs, in Recall@10."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx

from benchmarks.figures import Figure, Reference
from knowledge.encoding.bert_graph import build_fp32_graph
from knowledge.encoding.builtin_model import load_builtin_heads, load_weights, package_dir
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.heads import EncoderHeads
from knowledge.encoding.model_directory import (
    CONFIG_FILES,
    FP32_FILE,
    TOKENIZER_FILE,
    ModelConfig,
    ModelDirectory,
)

_TOP_K = 10


def measure_projection_loss(
    projected: EncoderEngine, folder: Path, texts: Sequence[str], headings: Sequence[str]
) -> Figure:
    """Ask for each text by its heading, with and without the projection, in single precision.

    Args:
        projected: the built-in model in single precision.
        folder: for the model without the projection.
        headings: of `texts`, in their order; a text is relevant to all queries equal to its own.
    """
    whole = _load_without_projection(folder)
    recalls = [_recall(engine, texts, headings) for engine in (projected, whole)]
    return Figure(
        "retrieval: Recall@10 of 256 dimensions, single precision",
        recalls[0],
        "share",
        Reference("384 dimensions", recalls[1]),
    )


def _load_without_projection(folder: Path) -> EncoderEngine:
    source = package_dir()
    weights, shape = load_weights(source)
    hidden = weights["embeddings.word_embeddings.weight"].shape[1]
    heads = EncoderHeads(np.eye(hidden, dtype=np.float32), load_builtin_heads().token, {})
    folder.mkdir(parents=True)
    onnx.save(build_fp32_graph(weights, shape, heads), folder / FP32_FILE)
    shutil.copyfile(source / "tokenizer.json", folder / TOKENIZER_FILE)
    config = ModelConfig(query_length=64, document_length=256)
    (folder / CONFIG_FILES[0]).write_bytes(msgspec.json.encode(config))
    return EncoderEngine(ModelDirectory(folder), folder / FP32_FILE, name="without-projection")


def _recall(engine: EncoderEngine, texts: Sequence[str], headings: Sequence[str]) -> float:
    queries = sorted(set(headings))
    documents = np.array([each.dense for each in engine.encode(texts, kind="document")])
    asked = np.array([each.dense for each in engine.encode(queries, kind="query")])
    best = np.argsort(-(asked @ documents.T), axis=1)[:, :_TOP_K]
    shares = []
    for query, found in zip(queries, best, strict=True):
        relevant = {number for number, heading in enumerate(headings) if heading == query}
        shares.append(len(relevant & set(found.tolist())) / min(len(relevant), _TOP_K))
    return float(np.mean(shares))
