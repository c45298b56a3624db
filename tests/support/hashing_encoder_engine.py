"""A double of the encoder's engine: instant, deterministic, similar where texts share words."""

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from knowledge.encoding.tokenization import TokenizedText, UnencodableText
from knowledge.ports import EmbeddingKind, EncoderModel, Encoding, FloatArray

VOCABULARY = 30_000
_PREFIXES = {"query": 1, "document": 2}
_PREFIX_WEIGHT = 0.1

HASHING_MODEL = EncoderModel(
    name="hashing",
    dimensions=256,
    token_dimensions=64,
    is_rerank_recommended=True,
    max_query_tokens=32,
    max_document_tokens=256,
)


class HashingEncoderEngine:
    """`EncoderEngine` with vectors from hashed words, and faults for tests of its callers."""

    def __init__(
        self, model: EncoderModel = HASHING_MODEL, *, seconds_per_batch: float = 0
    ) -> None:
        self.model = model
        self.concurrency = 1
        self.can_pad = True
        self.batches: list[int] = []
        """Texts of each batch that was run."""
        self.failing_words: set[str] = set()
        """A batch that holds one of these fails."""
        self._seconds_per_batch = seconds_per_batch

    def tokenize(self, texts: Sequence[str], *, kind: EmbeddingKind) -> list[TokenizedText]:
        """Return one token per word, at most the model's maximum for the kind."""
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UnencodableText(f"not valid Unicode: {error}") from error
        words = [[_token_id(word) for word in re.findall(r"\w+", text.lower())] for text in texts]
        return self.tokenize_ids(words, kind=kind)

    def tokenize_ids(
        self, token_ids: Sequence[Sequence[int]], *, kind: EmbeddingKind
    ) -> list[TokenizedText]:
        """Return the token IDs behind the kind's prefix."""
        tokenized = []
        limit = self.model.max_query_tokens if kind == "query" else self.model.max_document_tokens
        for ids in token_ids:
            unknown = [each for each in ids if not 0 <= each < VOCABULARY]
            if unknown:
                raise UnencodableText(f"token IDs outside the vocabulary: {unknown}")
            cut = [_PREFIXES[kind], *ids][:limit]
            kept = [False] + [True] * (len(cut) - 1)
            tokenized.append(TokenizedText(cut, [1] * len(cut), kept))
        return tokenized

    def count_tokens(self, text: str, *, kind: EmbeddingKind) -> int:
        """Return the tokens of a text before it is cut."""
        return 1 + len(re.findall(r"\w+", text))

    def run(self, batch: Sequence[TokenizedText], *, with_tokens: bool = False) -> list[Encoding]:
        """Return the sums of the words' vectors."""
        time.sleep(self._seconds_per_batch)
        self.batches.append(len(batch))
        failing_ids = {_token_id(word) for word in self.failing_words}
        if any(failing_ids.intersection(text.token_ids) for text in batch):
            raise RuntimeError("the engine was told to fail")
        return [self._encode(text, with_tokens) for text in batch]

    def encode(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        batch_tokens: int = 4096,
    ) -> list[Encoding]:
        """Return one encoding per text, in order."""
        return self.run(self.tokenize(texts, kind=kind), with_tokens=with_tokens)

    def _encode(self, text: TokenizedText, with_tokens: bool) -> Encoding:
        prefix, *words = (_vector(each, self.model.dimensions) for each in text.token_ids)
        dense = np.sum([_PREFIX_WEIGHT * prefix, *words], axis=0)
        tokens: FloatArray | None = None
        if with_tokens and self.model.token_dimensions is not None:
            rows = [_vector(each, self.model.token_dimensions) for each in text.token_ids[1:]]
            tokens = np.array(rows, np.float32).reshape(-1, self.model.token_dimensions)
        return Encoding(
            dense=(dense / np.linalg.norm(dense)).astype(np.float32),
            tokens=tokens,
            token_count=len(text),
        )


def _token_id(word: str) -> int:
    return 3 + crc32(word.encode()) % (VOCABULARY - 3)


@lru_cache(maxsize=100_000)
def _vector(token_id: int, dimensions: int) -> FloatArray:
    values = np.random.default_rng(token_id).standard_normal(dimensions)
    return (values / np.linalg.norm(values)).astype(np.float32)
