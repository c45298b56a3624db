"""The built-in model: its graphs, their agreement, and how they are kept."""

import inspect
import subprocess
import sys
import unittest.mock
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.settings import EncoderSettings
from knowledge.encoding.builtin_model import MODEL_NAME, ensure_builtin_model
from knowledge.encoding.engine import EncoderEngine, UnencodableText
from knowledge.encoding.loading import load_encoder
from knowledge.ports import FloatArray


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def int8(models_dir: Path) -> EncoderEngine:
    return load_encoder(EncoderSettings(), models_dir)


@pytest.fixture(scope="module")
def fp32(models_dir: Path) -> EncoderEngine:
    return load_encoder(EncoderSettings(precision="fp32"), models_dir)


@pytest.fixture(scope="module")
def docstrings() -> list[str]:
    """Real prose of some length, on every machine."""
    modules = ("argparse", "asyncio", "decimal", "logging", "pathlib", "shutil", "subprocess")
    return sorted(set(_docstrings([__import__(name) for name in modules] + [unittest.mock])))


def _docstrings(modules: list[object]) -> Iterator[str]:
    for module in modules:
        for thing in vars(module).values():
            text = inspect.getdoc(thing)
            if text and 60 < len(text) < 1500:
                yield text


def dense(engine: EncoderEngine, texts: list[str], kind: str = "document") -> FloatArray:
    return np.array([each.dense for each in engine.encode(texts, kind=kind)])  # type: ignore[arg-type]


def test_the_model_is_described(int8: EncoderEngine, fp32: EncoderEngine) -> None:
    assert (int8.model.name, fp32.model.name) == (f"{MODEL_NAME}-int8", f"{MODEL_NAME}-fp32")
    assert (int8.model.dimensions, int8.model.token_dimensions) == (256, 64)


def test_similarities_are_those_of_the_published_model(fp32: EncoderEngine) -> None:
    # The example on the model's page; the projection to 256 dimensions moves them a little.
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person"]
    other = ["Today is a sunny day"]

    person, dog, very, sunny = dense(fp32, sentences + other)

    assert [person @ dog, person @ very, person @ sunny] == pytest.approx(
        [0.695, 0.943, 0.257], abs=0.04
    )


def test_vectors_are_normalised(int8: EncoderEngine) -> None:
    [encoding] = int8.encode(["How do I rotate the keys?"], kind="query", with_tokens=True)

    assert encoding.tokens is not None
    assert encoding.tokens.shape == (encoding.token_count, 64)
    assert encoding.dense.dtype == encoding.tokens.dtype == np.float32
    assert np.linalg.norm(encoding.dense) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(encoding.tokens, axis=1) == pytest.approx(1, abs=1e-5)


def test_int8_ranks_as_single_precision_does(
    int8: EncoderEngine, fp32: EncoderEngine, docstrings: list[str]
) -> None:
    queries = [text.split(".")[0][:120] for text in docstrings[::2]]
    quantized = dense(int8, queries, "query") @ dense(int8, docstrings).T
    exact = dense(fp32, queries, "query") @ dense(fp32, docstrings).T

    best = [np.argsort(-scores, axis=1)[:, :10] for scores in (quantized, exact)]
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*best, strict=True)])

    assert len(docstrings) > 100
    assert overlap >= 0.9


def test_companions_in_a_batch_change_no_bit_of_a_vector(
    int8: EncoderEngine, docstrings: list[str]
) -> None:
    together = int8.encode(docstrings[:40], kind="document", with_tokens=True)
    alone = [
        encoding
        for text in docstrings[:40]
        for encoding in int8.encode([text], kind="document", with_tokens=True)
    ]

    for one, other in zip(together, alone, strict=True):
        assert one.tokens is not None
        assert other.tokens is not None
        np.testing.assert_array_equal(one.dense, other.dense)
        np.testing.assert_array_equal(one.tokens, other.tokens)


def test_the_first_dimensions_carry_most(fp32: EncoderEngine, docstrings: list[str]) -> None:
    variances = dense(fp32, docstrings).var(axis=0)

    assert variances[1:65].sum() > 3 * variances[192:].sum()


@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x07", "🦊" * 40, "word " * 100_000, "a" * 1_000_000]
)
def test_any_text_gets_a_vector(int8: EncoderEngine, text: str) -> None:
    for kind in ("query", "document"):
        [vector] = dense(int8, [text], kind)
        assert np.isfinite(vector).all()
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


def test_an_unpaired_surrogate_is_refused_with_its_place(int8: EncoderEngine) -> None:
    with pytest.raises(UnencodableText, match="input 1: unpaired surrogate at character 3"):
        int8.encode(["fine", "bad\ud800"], kind="query")


def test_the_order_of_the_texts_is_kept(int8: EncoderEngine) -> None:
    texts = ["a long text about rivers and stones " * 6, "short", "of middle length, this one"]

    together = dense(int8, texts)
    alone = np.concatenate([dense(int8, [text]) for text in texts])

    assert np.argmax(together @ alone.T, axis=1).tolist() == [0, 1, 2]


def test_no_texts_are_no_encodings(int8: EncoderEngine) -> None:
    assert int8.encode([], kind="document") == []


def test_the_model_is_built_once(models_dir: Path, int8: EncoderEngine) -> None:
    first = ensure_builtin_model(models_dir, "int8")
    changed_at = first.stat().st_mtime_ns

    assert ensure_builtin_model(models_dir, "int8") == first
    assert first.stat().st_mtime_ns == changed_at
    assert [each.name for each in models_dir.glob(".building-*")] == []


def test_processes_that_build_at_once_agree(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from knowledge.encoding.builtin_model import ensure_builtin_model;"
        "print(ensure_builtin_model(Path(sys.argv[1]), 'int8'))"
    )
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [builder.communicate(timeout=120)[0].strip() for builder in builders]

    assert outputs[0] == outputs[1] != ""
    assert len(list(tmp_path.iterdir())) == 1


def test_the_int8_model_is_a_quarter_of_the_size(models_dir: Path, fp32: EncoderEngine) -> None:
    sizes = {
        precision: sum(
            file.stat().st_size
            for file in ensure_builtin_model(models_dir, precision).glob("*.onnx")  # type: ignore[arg-type]
        )
        for precision in ("int8", "fp32")
    }

    assert sizes["int8"] < 0.3 * sizes["fp32"]
