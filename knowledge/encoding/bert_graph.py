"""ONNX graphs of a BERT encoder with a dense and a token head, made from its weights alone.

The graphs take no attention mask, so texts of one inference are of one length. What that saves is
more than padded batches would: without a mask ONNX Runtime's attention on CPUs is the
cache-friendly one (FlashAttention, Dao et al. 2022, https://arxiv.org/abs/2205.14135), and a
single text keeps a core as busy as several do.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from knowledge.encoding.heads import (
    ATTENTION_INPUT,
    ATTENTION_OUTPUT,
    INTERMEDIATE,
    OUTPUT,
    EncoderHeads,
)
from knowledge.ports import FloatArray

DENSE_OUTPUT = "sentence_embedding"
TOKEN_OUTPUT = "token_embeddings"  # noqa: S105 - a name

_CONTRIB = "com.microsoft"
_OPSET = 20
_IR_VERSION = 10
_SMALLEST = 1e-12


@dataclass(frozen=True)
class BertShape:
    """What the weights do not say themselves."""

    layer_count: int
    head_count: int
    layer_norm_epsilon: float


def build_fp32_graph(
    weights: Mapping[str, FloatArray], shape: BertShape, heads: EncoderHeads
) -> onnx.ModelProto:
    """Return the graph in single precision, the reference of the INT8 one."""
    return _Fp32Graph(weights, shape, heads).build()


def build_int8_graph(
    weights: Mapping[str, FloatArray],
    shape: BertShape,
    heads: EncoderHeads,
    *,
    weight_bits: int = 8,
) -> onnx.ModelProto:
    """Return the graph with INT8 linear maps and word embeddings.

    Weights are quantized per output channel, activations dynamically per tensor. A few channels
    of the activations are many times larger than all others and would take the eight bits for
    themselves: they are divided beforehand, their weights multiplied (Xiao et al. 2023,
    SmoothQuant, https://arxiv.org/abs/2211.10438; here for outlier channels alone).

    Args:
        weight_bits: 7 for processors whose INT8 multiplication saturates at 16 bits (x86 without
            VNNI), else 8.
    """
    return _Int8Graph(weights, shape, heads, weight_bits=weight_bits).build()


class _BertGraph(ABC):
    """What both precisions have in common: the layers' order and the heads."""

    def __init__(
        self, weights: Mapping[str, FloatArray], shape: BertShape, heads: EncoderHeads
    ) -> None:
        self._weights = weights
        self._shape = shape
        self._heads = heads
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def build(self) -> onnx.ModelProto:
        words = self._word_embeddings()
        states = self._embed(words)
        for layer in range(self._shape.layer_count):
            states = self._layer(states, layer)
        self._dense_head(states)
        self._token_head(states, words)
        dynamic = ["texts", "tokens"]
        dimensions = self._heads.dense.shape[1]
        token_dimensions = self._heads.token.shape[1]
        graph = helper.make_graph(
            self._nodes,
            "bert_encoder",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, dynamic)],
            [
                helper.make_tensor_value_info(
                    DENSE_OUTPUT, TensorProto.FLOAT, ["texts", dimensions]
                ),
                helper.make_tensor_value_info(
                    TOKEN_OUTPUT, TensorProto.FLOAT, [*dynamic, token_dimensions]
                ),
            ],
            list(self._constants.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)],
            ir_version=_IR_VERSION,
        )

    def node(
        self,
        operator: str,
        *inputs: str,
        outputs: tuple[str, ...] | int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node; return its first output."""
        name = f"{operator}_{len(self._nodes)}"
        names = (
            [f"{name}_{number}" for number in range(outputs)]
            if isinstance(outputs, int)
            else list(outputs)
        )
        self._nodes.append(
            helper.make_node(operator, list(inputs), names, name=name, domain=domain, **attributes)
        )
        return names[0]

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def weight(self, name: str) -> FloatArray:
        return self._weights[name]

    def _embed(self, words: str) -> str:
        zero = self.constant("zero", np.array([0], np.int64))
        # No token types: all text is of the first.
        positions = (
            self.weight("embeddings.position_embeddings.weight")
            + self.weight("embeddings.token_type_embeddings.weight")[0]
        )
        length = self.node("Shape", "input_ids", start=1, end=2)
        summed = self.node(
            "Add",
            words,
            self.node("Slice", self.constant("positions", positions), zero, length, zero),
        )
        prefix = "embeddings.LayerNorm"
        return self.node(
            "LayerNormalization",
            summed,
            self.constant(f"{prefix}.weight", self.weight(f"{prefix}.weight")),
            self.constant(f"{prefix}.bias", self.weight(f"{prefix}.bias")),
            epsilon=self._shape.layer_norm_epsilon,
            axis=-1,
        )

    def _layer(self, states: str, layer: int) -> str:
        prefix = f"encoder.layer.{layer}"
        attended = self._attention(states, layer)
        attended = self._linear(attended, f"{prefix}.attention.output.dense", layer)
        states = self._add_and_normalise(attended, states, f"{prefix}.attention.output")
        inner = self._gelu(
            self._linear(states, f"{prefix}.intermediate.dense", layer),
            f"{prefix}.intermediate.dense.bias",
        )
        inner = self._linear(inner, f"{prefix}.output.dense", layer)
        return self._add_and_normalise(inner, states, f"{prefix}.output")

    def _add_and_normalise(self, added: str, states: str, prefix: str) -> str:
        # In two nodes: ONNX Runtime's SkipLayerNormalization took three times as long.
        return self.node(
            "LayerNormalization",
            self.node("Add", added, states),
            self.constant(f"{prefix}.LayerNorm.weight", self.weight(f"{prefix}.LayerNorm.weight")),
            self.constant(f"{prefix}.LayerNorm.bias", self.weight(f"{prefix}.LayerNorm.bias")),
            epsilon=self._shape.layer_norm_epsilon,
            axis=-1,
        )

    def _dense_head(self, states: str) -> None:
        _, first = self._axes()
        total = self.node("ReduceSum", states, first, keepdims=0)
        # The mean's length is gone after the normalisation: the sum will do.
        mean = self._normalise(total)
        projected = self.node("MatMul", mean, self.constant("dense_head", self._heads.dense))
        self._normalise(projected, output=DENSE_OUTPUT)

    def _token_head(self, states: str, words: str) -> None:
        size = self.weight("embeddings.word_embeddings.weight").shape[1]
        ones = self.constant("ones", np.ones(size, np.float32))
        words = self.node("LayerNormalization", words, ones, axis=-1)
        joined = self.node("Concat", states, words, axis=-1)
        projected = self.node("MatMul", joined, self.constant("token_head", self._heads.token))
        self._normalise(projected, output=TOKEN_OUTPUT)

    def _normalise(self, vectors: str, *, output: str | None = None) -> str:
        last, _ = self._axes()
        length = self.node(
            "Max",
            self.node("ReduceL2", vectors, last, keepdims=1),
            self.constant("smallest", np.array(_SMALLEST, np.float32)),
        )
        return self.node("Div", vectors, length, outputs=(output,) if output else 1)

    def _axes(self) -> tuple[str, str]:
        return (
            self.constant("last_axis", np.array([-1], np.int64)),
            self.constant("token_axis", np.array([1], np.int64)),
        )

    @abstractmethod
    def _word_embeddings(self) -> str: ...

    @abstractmethod
    def _attention(self, states: str, layer: int) -> str: ...

    @abstractmethod
    def _linear(self, states: str, prefix: str, layer: int) -> str:
        """Multiply by the weights of `prefix` and add its bias, unless `_gelu` adds it."""

    @abstractmethod
    def _gelu(self, states: str, bias: str) -> str: ...


class _Fp32Graph(_BertGraph):
    def _word_embeddings(self) -> str:
        name = "embeddings.word_embeddings.weight"
        return self.node("Gather", self.constant(name, self.weight(name)), "input_ids")

    def _attention(self, states: str, layer: int) -> str:
        prefix = f"encoder.layer.{layer}.attention.self"
        parts = ("query", "key", "value")
        biases = [self.weight(f"{prefix}.{part}.bias") for part in parts]
        return self.node(
            "MultiHeadAttention",
            *(self._linear(states, f"{prefix}.{part}", layer) for part in parts),
            self.constant(f"{prefix}.bias", np.concatenate(biases)),
            domain=_CONTRIB,
            num_heads=self._shape.head_count,
        )

    def _linear(self, states: str, prefix: str, layer: int) -> str:
        name = f"{prefix}.weight"
        product = self.node("MatMul", states, self.constant(name, self.weight(name).T))
        if not prefix.endswith(".output.dense"):
            return product
        return self.node(
            "Add", product, self.constant(f"{prefix}.bias", self.weight(f"{prefix}.bias"))
        )

    def _gelu(self, states: str, bias: str) -> str:
        return self.node(
            "BiasGelu", states, self.constant(bias, self.weight(bias)), domain=_CONTRIB
        )


class _Int8Graph(_BertGraph):
    def __init__(
        self,
        weights: Mapping[str, FloatArray],
        shape: BertShape,
        heads: EncoderHeads,
        *,
        weight_bits: int,
    ) -> None:
        super().__init__(weights, shape, heads)
        self._largest = 2 ** (weight_bits - 1) - 1

    def _word_embeddings(self) -> str:
        words = self.weight("embeddings.word_embeddings.weight")
        scales = np.maximum(np.abs(words).max(axis=1, keepdims=True) / 127, _SMALLEST)
        quantized = np.round(words / scales).astype(np.int8)
        rows = self.node("Gather", self.constant("words", quantized), "input_ids")
        return self.node(
            "Mul",
            self.node("Cast", rows, to=TensorProto.FLOAT),
            self.node(
                "Gather", self.constant("word_scales", scales.astype(np.float32)), "input_ids"
            ),
        )

    def _attention(self, states: str, layer: int) -> str:
        prefix = f"encoder.layer.{layer}.attention.self"
        values, scale, zero_point = self._quantize(states, layer, ATTENTION_INPUT)
        input_scales = self._heads.input_scales.get((layer, ATTENTION_INPUT))
        projected = []
        for part in ("query", "key", "value"):
            name = f"{prefix}.{part}"
            matrix, matrix_scale = self._quantized_weights(
                name, self.weight(f"{name}.weight"), input_scales
            )
            bias = self.constant(f"{name}.bias", self.weight(f"{name}.bias"))
            projected.append(self._multiply(values, matrix, scale, matrix_scale, zero_point, bias))
        return self.node(
            "MultiHeadAttention", *projected, domain=_CONTRIB, num_heads=self._shape.head_count
        )

    def _linear(self, states: str, prefix: str, layer: int) -> str:
        fed_with = {
            "attention.output.dense": ATTENTION_OUTPUT,
            "intermediate.dense": INTERMEDIATE,
            "output.dense": OUTPUT,
        }[prefix.removeprefix(f"encoder.layer.{layer}.")]
        values, scale, zero_point = self._quantize(states, layer, fed_with)
        matrix, matrix_scale = self._quantized_weights(
            prefix,
            self.weight(f"{prefix}.weight"),
            self._heads.input_scales.get((layer, fed_with)),
        )
        bias = ""
        if fed_with != INTERMEDIATE:
            bias = self.constant(f"{prefix}.bias", self.weight(f"{prefix}.bias"))
        return self._multiply(values, matrix, scale, matrix_scale, zero_point, bias)

    def _multiply(
        self, values: str, matrix: str, scale: str, matrix_scale: str, zero_point: str, bias: str
    ) -> str:
        no_zero_points_of_matrix = ""
        return self.node(
            "MatMulIntegerToFloat",
            *(values, matrix, scale, matrix_scale, zero_point, no_zero_points_of_matrix, bias),
            domain=_CONTRIB,
        )

    def _gelu(self, states: str, bias: str) -> str:
        # The approximation by tanh is within the error of the quantization after it.
        return self.node(
            "FastGelu", states, self.constant(bias, self.weight(bias)), domain=_CONTRIB
        )

    def _quantize(self, states: str, layer: int, fed_with: str) -> tuple[str, str, str]:
        scales = self._heads.input_scales.get((layer, fed_with))
        if scales is not None:
            factors = self.constant(f"divide.{layer}.{fed_with}", (1 / scales).astype(np.float32))
            states = self.node("Mul", states, factors)
        values = self.node("DynamicQuantizeLinear", states, outputs=3)
        stem = values.removesuffix("_0")
        return values, f"{stem}_1", f"{stem}_2"

    def _quantized_weights(
        self, name: str, weights: FloatArray, input_scales: FloatArray | None
    ) -> tuple[str, str]:
        """Return the names of the INT8 matrix, shape (in, out), and of its scales, shape (out,)."""
        if input_scales is not None:
            weights = weights * input_scales
        scales = np.maximum(np.abs(weights).max(axis=1) / self._largest, _SMALLEST)
        quantized = np.round(weights / scales[:, None]).astype(np.int8)
        return (
            self.constant(f"{name}.quantized", quantized.T),
            self.constant(f"{name}.scales", scales.astype(np.float32)),
        )
