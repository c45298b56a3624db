"""A double whose batches end when a test says so."""

import threading
from collections.abc import Sequence

from knowledge.encoding.tokenization import TokenizedText
from knowledge.ports import Encoding
from tests.support.hashing_encoder_engine import HashingEncoderEngine


class BlockedEngine(HashingEncoderEngine):
    """Counts what it has begun, and lets each batch wait until `release`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts_begun: list[list[tuple[int, ...]]] = []
        """Token IDs of the texts of each batch."""
        self.has_begun = threading.Event()
        self._may_end = threading.Semaphore(0)

    def run(self, batch: Sequence[TokenizedText], *, with_tokens: bool = False) -> list[Encoding]:
        self.texts_begun.append([tuple(text.token_ids) for text in batch])
        self.has_begun.set()
        self._may_end.acquire()
        return super().run(batch, with_tokens=with_tokens)

    def release(self, batches: int = 1_000) -> None:
        self._may_end.release(batches)
