"""An encoder in another process whose client is loaded when it is first asked."""

import asyncio
from collections.abc import Sequence
from importlib import import_module

from knowledge.ports import (
    EmbeddingKind,
    EncoderModel,
    EncoderUnavailable,
    Encoding,
    RemoteEncoding,
)


class DeferredEncoder:
    """`RemoteEncoder`, without gRPC and numpy in memory until there is something to encode.

    Both take about 20 MiB, and a gateway without documents never needs them.
    """

    def __init__(self, target: str, *, timeout_seconds: float) -> None:
        """
        Args:
            target: host:port.
            timeout_seconds: for each call. A long list of texts is several calls.
        """
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._encoder: RemoteEncoding | None = None
        self._is_closed = False

    async def describe(self) -> EncoderModel:
        """Return the model that is served, as it was last seen. Raises EncoderUnavailable."""
        return await (await self._open()).describe()

    async def encode(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        timeout_seconds: float | None = None,
    ) -> list[Encoding]:
        """Return one encoding per text, in order; see `RemoteEncoder.encode`."""
        encoder = await self._open()
        return await encoder.encode(
            texts, kind=kind, with_tokens=with_tokens, timeout_seconds=timeout_seconds
        )

    async def close(self) -> None:
        """Disconnect; calls that are under way fail."""
        self._is_closed = True
        if self._encoder is not None:
            await self._encoder.close()

    async def _open(self) -> RemoteEncoding:
        if self._encoder is None:
            # Not on the event loop: it takes longer than many a request.
            module = await asyncio.to_thread(import_module, "knowledge.encoding.remote_encoder")
            if self._is_closed:
                raise EncoderUnavailable(
                    f"the connection to the encoder at {self._target} is closed"
                )
            if self._encoder is None:
                self._encoder = module.RemoteEncoder(
                    self._target, timeout_seconds=self._timeout_seconds
                )
        return self._encoder
