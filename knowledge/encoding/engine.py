"""The encoder's engine: texts into dense and token vectors on ONNX Runtime."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from knowledge.encoding.model_directory import ModelDirectory, ModelDirectoryError
from knowledge.encoding.tokenization import TextTokenizer, TokenizedText, UnencodableText
from knowledge.ports import EmbeddingKind, EncoderModel, Encoding, FloatArray

__all__ = ["EncoderEngine", "TokenizedText", "UnencodableText"]

DEFAULT_BATCH_TOKENS = 1024
"""Measured with all-MiniLM-L6-v2 on cores with 1 MiB of L2 cache each: 500 to 1,400 tokens of a
batch went fastest, 4,000 a quarter slower, 8,000 at a third of the speed."""

_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_WARNINGS_OFF = 3


class EncoderEngine:
    """A loaded model. Thread-safe; an inference uses one core, so that several run side by side.

    On two cores two inferences at once encode a fifth more texts than one after the other on both:
    no thread waits for another within an inference.

    A graph has one output of shape (texts, tokens, dimensions), the token vectors, and may have
    one of shape (texts, dimensions), the dense vector. Without the latter the dense vector is the
    normalised mean of the token vectors.
    """

    def __init__(
        self, directory: ModelDirectory, graph_file: Path, *, name: str, threads: int = 0
    ) -> None:
        """
        Args:
            name: as in `EncoderModel.name`.
            threads: inferences that `encode` runs at once; 0: one per core that this process may
                use.

        Raises:
            ModelDirectoryError: the graph cannot be loaded, or has other inputs or outputs.
        """
        self._tokenizer = TextTokenizer(directory)
        self.concurrency = threads or _available_cores()
        """Inferences at once that keep the cores busy."""
        self._session = _open_session(graph_file)
        self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="encoder-inference")
        self._input_names = {each.name for each in self._session.get_inputs()}
        if not {"input_ids"} <= self._input_names <= _INPUTS:
            raise ModelDirectoryError(
                f"{graph_file}: inputs are {', '.join(sorted(self._input_names))}; known are"
                f" {', '.join(sorted(_INPUTS))}"
            )
        self.can_pad = "attention_mask" in self._input_names
        """Whether the texts of a batch go through the graph together, filled up to one length."""
        self._dense_output = self._find_output(rank=2)
        token_output = self._find_output(rank=3)
        if token_output is None and self._dense_output is None:
            raise ModelDirectoryError(f"{graph_file}: no output has 2 or 3 dimensions")
        self._token_output = token_output
        config = directory.config
        token_dimensions, dimensions = self._probe_dimensions()
        if config.embedding_dim is not None and config.embedding_dim != token_dimensions:
            raise ModelDirectoryError(
                f"{graph_file}: token vectors have {token_dimensions} dimensions, the"
                f" configuration says {config.embedding_dim}"
            )
        is_recommended = config.is_rerank_recommended
        self.model = EncoderModel(
            name=name,
            dimensions=dimensions,
            token_dimensions=token_dimensions,
            is_rerank_recommended=(
                token_dimensions is not None if is_recommended is None else is_recommended
            ),
            max_query_tokens=config.query_length,
            max_document_tokens=config.document_length,
        )

    def tokenize(self, texts: Sequence[str], *, kind: EmbeddingKind) -> list[TokenizedText]:
        """Return one input per text, cut to the model's length.

        Raises:
            UnencodableText: a text holds unpaired surrogates.
        """
        return self._tokenizer.tokenize(texts, kind=kind)

    def tokenize_ids(
        self, token_ids: Sequence[Sequence[int]], *, kind: EmbeddingKind
    ) -> list[TokenizedText]:
        """Return inputs of a client's own token IDs.

        Raises:
            UnencodableText: an ID is not in the vocabulary.
        """
        return self._tokenizer.tokenize_ids(token_ids, kind=kind)

    def count_tokens(self, text: str, *, kind: EmbeddingKind) -> int:
        """Return how many tokens `text` has before it is cut. Raises UnencodableText."""
        return self._tokenizer.count_tokens(text, kind=kind)

    def run(self, batch: Sequence[TokenizedText], *, with_tokens: bool = False) -> list[Encoding]:
        """Encode `batch` in one inference, padded to its longest text.

        By a graph without an attention mask each text is encoded alone: its vectors are the same
        to the bit in whatever company it comes.
        """
        if len(batch) > 1 and not self.can_pad:
            return [
                encoding for text in batch for encoding in self.run([text], with_tokens=with_tokens)
            ]
        if not batch:
            return []
        dense, tokens = self._infer(batch, needs_tokens=with_tokens)
        encodings = []
        for number, text in enumerate(batch):
            kept_tokens = None
            if tokens is not None:
                kept_tokens = tokens[number, : len(text)][text.kept]
                kept_tokens = _normalise(kept_tokens)
            vector = dense[number] if dense is not None else _pool(kept_tokens)
            encodings.append(
                Encoding(
                    dense=vector,
                    tokens=kept_tokens if with_tokens else None,
                    token_count=len(text),
                )
            )
        return encodings

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
    ) -> list[Encoding]:
        """Encode any number of texts, those of like length together.

        Args:
            batch_tokens: of one inference, padding included.

        Raises:
            UnencodableText: a text holds unpaired surrogates.
        """
        tokenized = self.tokenize(texts, kind=kind)
        encodings: list[Encoding | None] = [None] * len(tokenized)
        groups = list(_batches_of_like_length(tokenized, batch_tokens))
        batches = [[tokenized[number] for number in numbers] for numbers in groups]
        run = partial(self.run, with_tokens=with_tokens)
        results = map(run, batches) if len(batches) == 1 else self._pool.map(run, batches)
        for numbers, batch in zip(groups, results, strict=True):
            for number, encoding in zip(numbers, batch, strict=True):
                encodings[number] = encoding
        return [encoding for encoding in encodings if encoding is not None]

    def _infer(
        self, batch: Sequence[TokenizedText], *, needs_tokens: bool
    ) -> tuple[FloatArray | None, FloatArray | None]:
        shape = (len(batch), max(len(text) for text in batch))
        token_ids = np.full(shape, self._tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        for number, text in enumerate(batch):
            token_ids[number, : len(text)] = text.token_ids
            mask[number, : len(text)] = text.attention_mask
        inputs: dict[str, NDArray[np.int64]] = {"input_ids": token_ids}
        if self.can_pad:
            inputs["attention_mask"] = mask
        if "token_type_ids" in self._input_names:
            inputs["token_type_ids"] = np.zeros(shape, dtype=np.int64)
        wanted = []
        if self._dense_output is not None:
            wanted.append(self._dense_output)
        if self._token_output is not None and (needs_tokens or self._dense_output is None):
            wanted.append(self._token_output)
        outputs = dict(zip(wanted, self._session.run(wanted, inputs), strict=True))
        dense = outputs.get(self._dense_output or "")
        tokens = outputs.get(self._token_output or "")
        return (None if dense is None else _normalise(dense)), tokens

    def _find_output(self, *, rank: int) -> str | None:
        for output in self._session.get_outputs():
            if len(output.shape) == rank:
                return str(output.name)
        return None

    def _probe_dimensions(self) -> tuple[int | None, int]:
        [probe] = self.run(
            self.tokenize(["dimensions"], kind="document"),
            with_tokens=self._token_output is not None,
        )
        return (None if probe.tokens is None else probe.tokens.shape[1]), probe.dense.shape[0]


def _open_session(graph_file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _WARNINGS_OFF
    try:
        return onnxruntime.InferenceSession(
            str(graph_file), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's errors share no public base
        raise ModelDirectoryError(f"{graph_file}: {error}") from error


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batches_of_like_length(
    texts: Sequence[TokenizedText], batch_tokens: int
) -> Iterator[list[int]]:
    """Yield the texts' numbers, shortest first, as many as fit when padded to the longest."""
    batch: list[int] = []
    for number in sorted(range(len(texts)), key=lambda each: len(texts[each])):
        if batch and (len(batch) + 1) * len(texts[number]) > batch_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _normalise(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalised: FloatArray = vectors / np.maximum(lengths, 1e-12)
    return normalised


def _pool(tokens: FloatArray | None) -> FloatArray:
    if tokens is None or not len(tokens):
        raise ModelDirectoryError("the model gives no vector for this text")
    return _normalise(tokens.mean(axis=0))
