"""The vectors of a query, if the encoder serves the model of the stored ones."""

import asyncio
from typing import Literal

from knowledge.ports import Encoder, EncoderModel, EncoderUnavailable, Encoding
from knowledge.stored_model import StoredModel


class QueryEncodingFailed(Exception):
    """There are no vectors of the query that could be compared with the stored ones."""


class QueryEncoder:
    """Asks the encoder for the vectors of one query, within a time."""

    def __init__(self, encoder: Encoder, *, timeout_seconds: float) -> None:
        self._encoder = encoder
        self._timeout_seconds = timeout_seconds

    async def encode(
        self, query: str, stored_model: StoredModel, *, rerank: Literal["auto", "on", "off"]
    ) -> tuple[EncoderModel, Encoding]:
        """Return the encoder's model and the query's vectors.

        Args:
            rerank: whether token vectors are wanted. `auto`: where the model is known to gain.

        Raises:
            QueryEncodingFailed: the encoder is unavailable or too slow, or serves another model
                than `stored_model`.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                model = await self._encoder.describe()
                _require_same(model, stored_model)
                is_reranked = rerank == "on" or (rerank == "auto" and model.is_rerank_recommended)
                [encoding] = await self._encoder.encode(
                    [query],
                    kind="query",
                    with_tokens=is_reranked and model.token_dimensions is not None,
                )
                # The encoder may have been replaced since it was described.
                _require_same(await self._encoder.describe(), stored_model)
        except TimeoutError as error:
            raise QueryEncodingFailed(
                f"the encoder did not answer within {self._timeout_seconds:g} s"
            ) from error
        except EncoderUnavailable as error:
            raise QueryEncodingFailed(str(error) or "the encoder is unavailable") from error
        return model, encoding


def _require_same(model: EncoderModel, stored: StoredModel) -> None:
    if (model.name, model.dimensions) != (stored.name, stored.dimensions):
        raise QueryEncodingFailed(
            f"the encoder serves {model.name!r} ({model.dimensions} dimensions), but the stored"
            f" vectors are of {stored.name!r} ({stored.dimensions} dimensions)"
        )
