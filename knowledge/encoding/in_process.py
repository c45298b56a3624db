"""The port `Encoder` over an engine in this process."""

import asyncio
from collections.abc import Sequence

from knowledge.ports import BlockingEncoder, EmbeddingKind, EncoderModel, Encoding


class InProcessEncoder:
    """Runs a blocking encoder on a thread, so that the event loop goes on."""

    def __init__(self, encoder: BlockingEncoder) -> None:
        self._encoder = encoder

    async def describe(self) -> EncoderModel:
        """Return the engine's model. Raises EncoderUnavailable."""
        return await asyncio.to_thread(lambda: self._encoder.model)

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Raises:
            EncoderUnavailable: no answer.
            ValueError: a text cannot be encoded.
        """
        return await asyncio.to_thread(
            self._encoder.encode, texts, kind=kind, with_tokens=with_tokens
        )
