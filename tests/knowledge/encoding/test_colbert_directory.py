"""A ColBERT export loads by its configuration alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from contracts.settings import EncoderSettings
from knowledge.encoding.engine import EncoderEngine
from knowledge.encoding.loading import load_encoder
from knowledge.encoding.model_directory import ModelDirectory, ModelDirectoryError
from knowledge.encoding.tokenization import TextTokenizer, UnencodableText
from tests.support.tiny_colbert import DIMENSIONS, SPECIAL, WORDS, write_tiny_colbert

IDS = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}


def load(directory: Path, tmp_path: Path) -> EncoderEngine:
    return load_encoder(EncoderSettings(model_dir=directory, precision="fp32"), tmp_path / "models")


def ids(*words: str) -> list[int]:
    return [IDS[word] for word in words]


def test_the_configuration_describes_the_model(tmp_path: Path) -> None:
    engine = load(write_tiny_colbert(tmp_path / "m"), tmp_path)

    assert engine.model.name == "tiny/colbert-fp32"
    assert engine.model.token_dimensions == DIMENSIONS
    assert engine.model.dimensions == DIMENSIONS
    assert (engine.model.max_query_tokens, engine.model.max_document_tokens) == (8, 6)
    assert engine.model.is_rerank_recommended


def test_a_query_has_its_marker_and_is_expanded_with_masks(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(ModelDirectory(write_tiny_colbert(tmp_path / "m")))

    [query] = tokenizer.tokenize(["red fox"], kind="query")

    assert query.token_ids == ids("[CLS]", "[Q] ", "red", "fox", "[SEP]", *["[MASK]"] * 3)
    assert query.attention_mask == [1] * 5 + [0] * 3
    assert all(query.kept)


def test_expansion_tokens_are_attended_to_where_configured(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m", attend_to_expansion_tokens=True)

    [query] = TextTokenizer(ModelDirectory(directory)).tokenize(["red fox"], kind="query")

    assert query.attention_mask == [1] * 8


def test_a_document_has_its_marker_and_no_vectors_of_skipped_tokens(tmp_path: Path) -> None:
    engine = load(write_tiny_colbert(tmp_path / "m"), tmp_path)

    [document] = engine.tokenize(["red, fox"], kind="document")
    [encoding] = engine.run([document], with_tokens=True)

    assert document.token_ids == ids("[CLS]", "[D] ", "red", ",", "fox", "[SEP]")
    assert document.kept == [True, True, True, False, True, True]
    assert encoding.tokens is not None
    assert encoding.tokens.shape == (5, DIMENSIONS)
    assert np.linalg.norm(encoding.tokens, axis=1) == pytest.approx(1, abs=1e-6)


def test_a_long_text_is_cut_before_its_last_special_token(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(ModelDirectory(write_tiny_colbert(tmp_path / "m")))

    [document] = tokenizer.tokenize(["red green blue fox river stone"], kind="document")

    assert document.token_ids == ids("[CLS]", "[D] ", "red", "green", "blue", "[SEP]")
    assert tokenizer.count_tokens("red green blue fox river stone", kind="document") == 9


def test_without_a_dense_output_the_tokens_mean_is_the_dense_vector(tmp_path: Path) -> None:
    engine = load(write_tiny_colbert(tmp_path / "m"), tmp_path)

    [encoding] = engine.encode(["red fox"], kind="document", with_tokens=True)

    assert encoding.tokens is not None
    mean = encoding.tokens.mean(axis=0)
    assert encoding.dense == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_query_and_document_of_one_text_differ(tmp_path: Path) -> None:
    engine = load(write_tiny_colbert(tmp_path / "m"), tmp_path)

    [query] = engine.encode(["red fox"], kind="query")
    [document] = engine.encode(["red fox"], kind="document")

    assert not np.allclose(query.dense, document.dense)


def test_a_prefix_that_is_no_token_is_put_before_the_text(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m", query_prefix="blue ", do_query_expansion=False)

    [query] = TextTokenizer(ModelDirectory(directory)).tokenize(["fox"], kind="query")

    assert query.token_ids == ids("[CLS]", "blue", "fox", "[SEP]")


def test_the_export_is_quantized_and_kept_where_it_brings_no_int8_graph(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m")
    settings = EncoderSettings(model_dir=directory)

    engine = load_encoder(settings, tmp_path / "models")
    [kept] = (tmp_path / "models").rglob("model_int8.onnx")
    changed_at = kept.stat().st_mtime_ns
    load_encoder(settings, tmp_path / "models")

    assert engine.model.name == "tiny/colbert-int8"
    assert kept.stat().st_mtime_ns == changed_at


@pytest.mark.parametrize("missing", ["model.onnx", "tokenizer.json", "onnx_config.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    directory = write_tiny_colbert(tmp_path / "m")
    (directory / missing).unlink()

    with pytest.raises(ModelDirectoryError, match=missing):
        load(directory, tmp_path)


def test_the_older_name_of_the_configuration_is_understood(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m")
    (directory / "onnx_config.json").rename(directory / "config_sentence_transformers.json")

    assert load(directory, tmp_path).model.max_query_tokens == 8


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("embedding_dim", 96, "8 dimensions, the configuration says 96"),
        ("query_length", "long", "query_length"),
        ("document_length", 2, "under 4"),
    ],
)
def test_a_wrong_configuration_is_refused(
    tmp_path: Path, key: str, value: object, complaint: str
) -> None:
    directory = write_tiny_colbert(tmp_path / "m", **{key: value})

    with pytest.raises(ModelDirectoryError, match=complaint):
        load(directory, tmp_path)


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m")
    (directory / "model.onnx").write_bytes(b"no graph")

    with pytest.raises(ModelDirectoryError, match=r"model\.onnx"):
        load(directory, tmp_path)


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_colbert(tmp_path / "m")
    (directory / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))

    with pytest.raises(ModelDirectoryError, match=r"tokenizer\.json"):
        load(directory, tmp_path)


def test_token_ids_of_a_client_are_framed_and_checked(tmp_path: Path) -> None:
    engine = load(write_tiny_colbert(tmp_path / "m"), tmp_path)

    [document] = engine.tokenize_ids([ids("red", "fox")], kind="document")

    assert document.token_ids == ids("[CLS]", "[D] ", "red", "fox", "[SEP]")
    with pytest.raises(UnencodableText, match="token 99"):
        engine.tokenize_ids([[99]], kind="document")
