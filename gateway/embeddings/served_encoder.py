"""The platform's encoder as a model that clients can name."""

from collections.abc import Sequence

from contracts.encoder import MODEL_ALIAS
from gateway.backends.router import ServedModel
from knowledge.ports import (
    EmbeddingKind,
    EncoderModel,
    EncoderUnavailable,
    Encoding,
    RemoteEncoding,
)

OWNER = "sluice"

_ENCODE_SECONDS = 60.0


class ServedEncoder:
    """The encoder under its model's name and its alias."""

    def __init__(self, encoder: RemoteEncoding) -> None:
        """
        Args:
            encoder: stays the caller's to close.
        """
        self._encoder = encoder

    async def describe(self) -> EncoderModel:
        """Return the model that is served. Raises EncoderUnavailable."""
        return await self._encoder.describe()

    async def serves(self, model: str) -> bool:
        """Return whether `model` is the encoder's. Raises EncoderUnavailable."""
        return model == MODEL_ALIAS or model == (await self._encoder.describe()).name

    async def served_models(self) -> list[ServedModel]:
        """Return the names it can be asked for by; none while the encoder cannot be reached."""
        try:
            model = await self._encoder.describe()
        except EncoderUnavailable:
            return []
        return [ServedModel(name, 0, OWNER) for name in (model.name, MODEL_ALIAS)]

    async def encode(self, texts: Sequence[str], *, kind: EmbeddingKind) -> list[Encoding]:
        """Return one encoding per text; long texts may take their time.

        Raises:
            EncoderUnavailable: no answer; `EncoderOverloaded` where trying later may help,
                `EncoderRefused` where it does not.
        """
        return await self._encoder.encode(texts, kind=kind, timeout_seconds=_ENCODE_SECONDS)

    async def check_health(self) -> None:
        """Return if a short text is encoded. Raises EncoderUnavailable."""
        await self._encoder.encode(["health"], kind="query")
