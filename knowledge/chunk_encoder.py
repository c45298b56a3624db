"""Vectors for chunks, encoded many documents at a time."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.ports import BlockingEncoder, FloatArray
from knowledge.token_vectors import pack_token_vectors

_TEXTS_OF_CALL = 256
"""The token vectors of so many texts take some 15 MB before they are packed."""


@dataclass(frozen=True)
class ChunkVectors:
    """What of an encoding is stored with a chunk."""

    dense: FloatArray
    """Shape (dimensions,), L2-normalised."""
    token_vectors: bytes | None
    """By `pack_token_vectors`; None where they are not kept."""


class ChunkEncoder:
    """Encodes chunks' texts, some of them ahead.

    A batch of many short texts costs an encoder far less than as many calls, but documents are
    stored one by one: `encode_distinct` makes vectors that `encode` will be asked for, on another
    thread where the caller has more to do, and `keep` hands them over.
    """

    def __init__(self, encoder: BlockingEncoder, *, with_tokens: bool) -> None:
        """
        Args:
            with_tokens: whether token vectors are kept, where the model has any.
        """
        self.model = encoder.model
        self.with_tokens = with_tokens and encoder.model.token_dimensions is not None
        self.text_count = 0
        """Texts that were encoded."""
        self.token_count = 0
        self.seconds = 0.0
        self._encoder = encoder
        self._counting = threading.Lock()
        self._ahead: Mapping[str, ChunkVectors] = {}

    def encode_distinct(self, texts: Sequence[str]) -> dict[str, ChunkVectors]:
        """Return the vectors of `texts`, by text. May be called from any thread.

        Raises:
            EncoderUnavailable, ValueError: as `encode`.
        """
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self._encode_all(distinct), strict=True))

    def keep(self, ahead: Mapping[str, ChunkVectors]) -> None:
        """Let `encode` take from `ahead`, and no more from what was kept before."""
        self._ahead = ahead

    def encode(self, texts: Sequence[str]) -> list[ChunkVectors]:
        """Return the vectors of `texts`, in order.

        Raises:
            EncoderUnavailable: an encoder in another process does not answer.
            ValueError: a text cannot be encoded.
        """
        missing = [text for text in texts if text not in self._ahead]
        new = iter(self._encode_all(missing))
        return [self._ahead[text] if text in self._ahead else next(new) for text in texts]

    def _encode_all(self, texts: Sequence[str]) -> list[ChunkVectors]:
        made: list[ChunkVectors] = []
        for start in range(0, len(texts), _TEXTS_OF_CALL):
            made += self._call(texts[start : start + _TEXTS_OF_CALL])
        return made

    def _call(self, texts: Sequence[str]) -> list[ChunkVectors]:
        started = time.perf_counter()
        encodings = self._encoder.encode(texts, kind="document", with_tokens=self.with_tokens)
        vectors = [
            ChunkVectors(
                each.dense,
                pack_token_vectors(each.tokens)
                if self.with_tokens and each.tokens is not None
                else None,
            )
            for each in encodings
        ]
        with self._counting:
            self.seconds += time.perf_counter() - started
            self.text_count += len(texts)
            self.token_count += sum(each.token_count for each in encodings)
        return vectors
