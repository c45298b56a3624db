"""Computes the heads of a BERT encoder from texts: no labels, no training, the same each time.

The dense head is the projection on the principal axes of the texts' own vectors (uncentred, as
cosines are), the token head that of the tokens'. A token is described by its last hidden state
and by the embedding of the word itself, at equal length: the hidden states of a model trained for
whole sentences say little of which word stood there, and late interaction needs that.

Training the token head contrastively on headings and sentences of the same texts, starting from
these axes, was tried and did not improve the order of unseen documents.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from knowledge.encoding.bert_graph import BertShape, build_fp32_graph
from knowledge.encoding.heads import (
    ATTENTION_INPUT,
    ATTENTION_OUTPUT,
    INTERMEDIATE,
    OUTPUT,
    EncoderHeads,
)
from knowledge.encoding.tokenization import TokenizedText
from knowledge.ports import FloatArray

_USUAL_SHARE = 0.97
"""Channels above this quantile of the largest activations are outliers."""
_LAST_STATES = "last_states"
_MATRIX_OF_INPUT = {
    ATTENTION_INPUT: "attention.self.query",
    ATTENTION_OUTPUT: "attention.output.dense",
    INTERMEDIATE: "intermediate.dense",
    OUTPUT: "output.dense",
}


def fit_heads(
    weights: Mapping[str, FloatArray],
    shape: BertShape,
    texts: Sequence[TokenizedText],
    *,
    dimensions: int,
    token_dimensions: int,
) -> EncoderHeads:
    """Return the heads for `texts`, of which some thousands of some hundred tokens suffice.

    Raises:
        ValueError: there are fewer texts than `dimensions`.
    """
    if len(texts) < dimensions:
        raise ValueError(f"{len(texts)} texts cannot span {dimensions} dimensions")
    hidden = weights["embeddings.word_embeddings.weight"].shape[1]
    words = _standardise(weights["embeddings.word_embeddings.weight"])
    session, tap_of = _open_tapped_session(weights, shape, hidden)
    largest = {tap: np.zeros(1, np.float32) for tap in tap_of.values()}
    # Second moments of the joined token vectors: their scales are applied at the end.
    moments = np.zeros((2 * hidden, 2 * hidden))
    token_count = 0
    means = []
    for text, taps, states in _run(session, list(largest), texts):
        for tap, values in taps.items():
            largest[tap] = np.maximum(largest[tap], np.abs(values).max(axis=0))
        joined = np.concatenate([states, words[text.token_ids]], axis=1).astype(np.float64)
        moments += joined.T @ joined
        token_count += len(text)
        mean = states.mean(axis=0)
        means.append(mean / np.linalg.norm(mean))
    mean_matrix = np.array(means, np.float64)
    return EncoderHeads(
        dense=_principal_axes(mean_matrix.T @ mean_matrix, dimensions),
        token=_token_head(moments / token_count, hidden, token_dimensions),
        input_scales={
            place: np.maximum(1, largest[tap] / np.quantile(largest[tap], _USUAL_SHARE)).astype(
                np.float32
            )
            for place, tap in tap_of.items()
        },
    )


def _token_head(moments: NDArray[np.float64], hidden: int, dimensions: int) -> FloatArray:
    """Principal axes of the joined vectors, both halves brought to the same mean length."""
    energies = np.array([np.trace(moments[:hidden, :hidden]), np.trace(moments[hidden:, hidden:])])
    scales = np.repeat(1 / np.sqrt(energies), hidden)
    axes = _principal_axes(moments * scales[:, None] * scales[None, :], dimensions)
    head: FloatArray = (axes * scales[:, None]).astype(np.float32)
    return head


def _principal_axes(moments: NDArray[np.float64], count: int) -> FloatArray:
    _, vectors = np.linalg.eigh(moments)
    axes = vectors[:, ::-1][:, :count]
    # An axis and its opposite are the same: the sign is settled, so that runs agree.
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])
    settled: FloatArray = (axes * signs).astype(np.float32)
    return settled


def _standardise(words: FloatArray) -> FloatArray:
    centred = words - words.mean(axis=1, keepdims=True)
    standardised: FloatArray = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    return standardised


def _open_tapped_session(
    weights: Mapping[str, FloatArray], shape: BertShape, hidden: int
) -> tuple[onnxruntime.InferenceSession, dict[tuple[int, str], str]]:
    """Return the reference graph with the linear maps' inputs, and the last states, as outputs."""
    empty_heads = EncoderHeads(
        dense=np.zeros((hidden, 1), np.float32),
        token=np.zeros((2 * hidden, 1), np.float32),
        input_scales={},
    )
    model = build_fp32_graph(weights, shape, empty_heads)
    input_of_matrix = {
        node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "MatMul"
    }
    tap_of = {
        (layer, fed_with): input_of_matrix[f"encoder.layer.{layer}.{matrix}.weight"]
        for layer in range(shape.layer_count)
        for fed_with, matrix in _MATRIX_OF_INPUT.items()
    }
    normalised = [
        node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"
    ]
    # One for the embeddings, two for each layer, then the token head's own.
    last = normalised[2 * shape.layer_count]
    model.graph.node.append(helper.make_node("Identity", [last], [_LAST_STATES]))
    for name in {*tap_of.values(), _LAST_STATES}:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session, tap_of


def _run(
    session: onnxruntime.InferenceSession, taps: Sequence[str], texts: Sequence[TokenizedText]
) -> Iterator[tuple[TokenizedText, dict[str, FloatArray], FloatArray]]:
    """Yield each text with its taps and last states, both of shape (tokens, channels)."""
    for text in texts:
        inputs = {"input_ids": np.array([text.token_ids], np.int64)}
        *values, states = session.run([*taps, _LAST_STATES], inputs)
        yield text, {tap: value[0] for tap, value in zip(taps, values, strict=True)}, states[0]
