"""A model on disk: graph, tokenizer and configuration, as ColBERT exports to ONNX have them."""

from pathlib import Path
from typing import Literal

import msgspec

Precision = Literal["int8", "fp32"]

CONFIG_FILES = ("onnx_config.json", "config_sentence_transformers.json")
"""In the order they are looked for. Both are written by exports of PyLate's checkpoints
(https://github.com/lightonai/next-plaid, `pylate-onnx-export`)."""
FP32_FILE = "model.onnx"
INT8_FILE = "model_int8.onnx"
TOKENIZER_FILE = "tokenizer.json"

_DEFAULT_QUERY_TOKENS = 32
_DEFAULT_DOCUMENT_TOKENS = 256


class ModelDirectoryError(Exception):
    """A directory holds no usable model; the message says what is wrong with which file."""


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How texts become token IDs, and what the graph's outputs are. Unknown keys are ignored."""

    model_name: str | None = None
    embedding_dim: int | None = None
    """Dimensions of a token vector; None: as the graph says."""
    query_prefix: str = ""
    document_prefix: str = ""
    """Where the vocabulary has the prefix, as `[Q] ` or `[D] `, its token follows the first one;
    any other is put before the text."""
    query_length: int = _DEFAULT_QUERY_TOKENS
    document_length: int = _DEFAULT_DOCUMENT_TOKENS
    """Tokens at most, special ones and the prefix included."""
    do_query_expansion: bool = False
    """Whether queries are filled up to `query_length` with mask tokens, whose vectors count."""
    attend_to_expansion_tokens: bool = False
    skiplist_words: tuple[str, ...] = ()
    """Tokens of documents whose vectors are dropped, mostly punctuation."""
    do_lower_case: bool = False
    mask_token_id: int | None = None
    pad_token_id: int | None = None
    is_rerank_recommended: bool | None = None
    """None: yes, for a checkpoint that was trained for late interaction."""


class ModelDirectory:
    """The files of one model."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ModelDirectoryError: a file is missing, or the configuration cannot be read.
        """
        self.path = path
        for name in (FP32_FILE, TOKENIZER_FILE):
            if not (path / name).is_file() and not (name == FP32_FILE and self._has_int8()):
                raise ModelDirectoryError(f"{path}: there is no {name}")
        self.config = self._read_config()

    @property
    def name(self) -> str:
        return self.config.model_name or self.path.resolve().name

    @property
    def tokenizer_file(self) -> Path:
        return self.path / TOKENIZER_FILE

    def graph_file(self, precision: Precision) -> Path | None:
        """Return the graph of `precision`, or None where the directory has none."""
        file = self.path / (INT8_FILE if precision == "int8" else FP32_FILE)
        return file if file.is_file() else None

    def _has_int8(self) -> bool:
        return (self.path / INT8_FILE).is_file()

    def _read_config(self) -> ModelConfig:
        for name in CONFIG_FILES:
            file = self.path / name
            if not file.is_file():
                continue
            try:
                config = msgspec.json.decode(file.read_bytes(), type=ModelConfig)
            except msgspec.MsgspecError as error:
                raise ModelDirectoryError(f"{file}: {error}") from error
            if config.query_length < 4 or config.document_length < 4:
                raise ModelDirectoryError(f"{file}: a length is under 4 tokens")
            return config
        raise ModelDirectoryError(f"{self.path}: there is none of {', '.join(CONFIG_FILES)}")
