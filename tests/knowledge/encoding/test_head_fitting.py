"""Heads are fitted to texts: deterministic, orthogonal, and better than no fit at all."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from knowledge.encoding.bert_graph import BertShape
from knowledge.encoding.builtin_model import load_weights, package_dir
from knowledge.encoding.head_fitting import fit_heads
from knowledge.encoding.heads import EncoderHeads, load_heads, save_heads
from knowledge.encoding.model_directory import ModelConfig, ModelDirectory
from knowledge.encoding.tokenization import TextTokenizer, TokenizedText

DIMENSIONS, TOKEN_DIMENSIONS = 16, 8


class PackageFiles(ModelDirectory):
    def __init__(self) -> None:
        self.path = package_dir()
        self.config = ModelConfig(document_length=48)


@pytest.fixture(scope="module")
def texts() -> list[TokenizedText]:
    docstrings = [inspect.getdoc(thing) for thing in vars(np).values()]
    chosen = [text for text in docstrings if text and len(text) > 80][:40]
    return TextTokenizer(PackageFiles()).tokenize(chosen, kind="document")


def fit(texts: list[TokenizedText]) -> EncoderHeads:
    weights, shape = load_weights(package_dir())
    small = BertShape(layer_count=1, head_count=shape.head_count, layer_norm_epsilon=1e-12)
    return fit_heads(
        weights, small, texts, dimensions=DIMENSIONS, token_dimensions=TOKEN_DIMENSIONS
    )


@pytest.fixture(scope="module")
def heads(texts: list[TokenizedText]) -> EncoderHeads:
    return fit(texts)


def test_the_dense_axes_are_orthonormal(heads: EncoderHeads) -> None:
    assert heads.dense.shape == (384, DIMENSIONS)
    assert heads.dense.T @ heads.dense == pytest.approx(np.eye(DIMENSIONS), abs=1e-4)


def test_a_token_is_its_state_and_its_word(heads: EncoderHeads) -> None:
    assert heads.token.shape == (2 * 384, TOKEN_DIMENSIONS)
    assert np.abs(heads.token[:384]).max() > 0
    assert np.abs(heads.token[384:]).max() > 0


def test_usual_channels_are_quantized_as_they_are(heads: EncoderHeads) -> None:
    assert len(heads.input_scales) == 4
    for scales in heads.input_scales.values():
        assert scales.min() == 1
        assert 0 < np.mean(scales > 1) <= 0.035


def test_a_second_fit_is_the_same(heads: EncoderHeads, texts: list[TokenizedText]) -> None:
    again = fit(texts)

    assert again.dense == pytest.approx(heads.dense, abs=1e-4)
    assert again.token == pytest.approx(heads.token, abs=1e-4)


def test_too_few_texts_are_refused(texts: list[TokenizedText]) -> None:
    with pytest.raises(ValueError, match="3 texts cannot span 16 dimensions"):
        fit(texts[:3])


def test_heads_are_kept_in_a_file(heads: EncoderHeads, tmp_path: Path) -> None:
    save_heads(heads, tmp_path / "heads.safetensors")

    read = load_heads(tmp_path / "heads.safetensors")

    assert read.dense == pytest.approx(heads.dense, abs=1e-3)
    assert read.token == pytest.approx(heads.token, abs=1e-3)
    assert read.input_scales.keys() == heads.input_scales.keys()
