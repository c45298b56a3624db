"""What turns a BERT encoder's hidden states into the vectors that are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from knowledge.ports import FloatArray

ATTENTION_INPUT = "attention"
ATTENTION_OUTPUT = "attention_output"
INTERMEDIATE = "intermediate"
OUTPUT = "output"

_DENSE = "dense"
_TOKEN = "token"  # noqa: S105 - a key
_SCALE = "scale"


@dataclass(frozen=True)
class EncoderHeads:
    """Two projections, and scales for the quantization. `head_fitting` computes them."""

    dense: FloatArray
    """Shape (hidden, dimensions): projects the normalised mean of the last hidden states. The
    dimensions are in the order of their variance, so that the first ones alone serve too."""
    token: FloatArray
    """Shape (2 * hidden, token dimensions): projects a token's last hidden state joined with the
    standardised embedding of the word itself."""
    input_scales: Mapping[tuple[int, str], FloatArray]
    """(layer, which linear map) → what each channel of its input is divided by before it is
    quantized. Query, key and value share one input, `ATTENTION_INPUT`."""


def load_heads(file: Path) -> EncoderHeads:
    """Read what `save_heads` wrote."""
    arrays = {name: array.astype(np.float32) for name, array in load_file(file).items()}
    scales = {}
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        if kind == _SCALE:
            layer, _, fed_with = rest.partition(".")
            scales[int(layer), fed_with] = array
    return EncoderHeads(arrays[_DENSE], arrays[_TOKEN], scales)


def save_heads(heads: EncoderHeads, file: Path) -> None:
    """Write in half precision, which moves the vectors by less than their quantization does."""
    arrays = {_DENSE: heads.dense, _TOKEN: heads.token}
    for (layer, fed_with), scales in heads.input_scales.items():
        arrays[f"{_SCALE}.{layer}.{fed_with}"] = scales
    halves = {name: np.ascontiguousarray(array, np.float16) for name, array in arrays.items()}
    save_file(halves, file)
