"""An encoder's engine of this process as the port `Encoder`."""

from collections.abc import Sequence

from knowledge.ports import BlockingEncoder, EmbeddingKind, EncoderModel, Encoding


class InProcessEncoder:
    """Runs `engine` in the event loop: fit for the tests' engine, which is instant."""

    def __init__(self, engine: BlockingEncoder) -> None:
        self.engine = engine
        self.queries: list[str] = []

    async def describe(self) -> EncoderModel:
        return self.engine.model

    async def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        self.queries += texts
        return self.engine.encode(texts, kind=kind, with_tokens=with_tokens)
