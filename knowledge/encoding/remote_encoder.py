"""An encoder in another process, over gRPC."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Self

import grpc
import grpc.aio

from contracts.headers import TRACEPARENT
from contracts.protos import encoder_pb2
from contracts.protos.encoder_pb2_grpc import EncoderStub
from contracts.tracing.trace_context import outgoing_traceparent
from knowledge.encoding.remote_calls import (
    CHANNEL_OPTIONS,
    embed_request,
    encodings_of,
    model_of,
    split_texts,
    translate_error,
)
from knowledge.ports import (
    EmbeddingKind,
    EncoderModel,
    EncoderOverloaded,
    EncoderUnavailable,
    Encoding,
)

_DESCRIBE_SECONDS = 5.0


class RemoteEncoder:
    """The port `Encoder` over `grpc.aio`, for one event loop.

    It connects at the first call, and again by itself after the server went away and came back.
    A call whose caller gives up runs on until it is answered or its time is over.
    """

    def __init__(self, target: str, *, timeout_seconds: float) -> None:
        """
        Args:
            target: host:port.
            timeout_seconds: for each call. A long list of texts is several calls.
        """
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._channel: Any = None
        self._stub: Any = None
        self._model: EncoderModel | None = None
        self._is_closed = False

    async def describe(self) -> EncoderModel:
        """Return the model that is served, as it was last seen. Raises EncoderUnavailable."""
        if self._model is None:
            reply = await self._call("Describe", encoder_pb2.DescribeRequest(), None)
            self._model = model_of(reply)
        return self._model

    async def encode(
        self,
        texts: Sequence[str],
        *,
        kind: EmbeddingKind,
        with_tokens: bool = False,
        timeout_seconds: float | None = None,
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Args:
            timeout_seconds: for each call, in place of the encoder's own.

        Raises:
            EncoderUnavailable: no answer; `EncoderOverloaded` where trying later may help,
                `EncoderRefused` where it does not.
        """
        encodings: list[Encoding] = []
        for part in split_texts(texts, with_tokens=with_tokens):
            request = embed_request(part, kind, with_tokens=with_tokens)
            reply = await self._call("Embed", request, timeout_seconds)
            if self._model is not None and self._model.name != reply.model:
                self._model = None
            encodings += encodings_of(
                reply, self._target, expected=len(part), with_tokens=with_tokens
            )
        return encodings

    async def close(self) -> None:
        """Disconnect; calls that are under way fail."""
        self._is_closed = True
        if self._channel is not None:
            await self._channel.close()
            self._channel = self._stub = None

    async def _call(self, method: str, request: object, timeout_seconds: float | None) -> Any:
        if self._is_closed:
            raise EncoderUnavailable(f"the connection to the encoder at {self._target} is closed")
        if self._stub is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=CHANNEL_OPTIONS)
            self._stub = EncoderStub(self._channel)  # type: ignore[no-untyped-call]
        timeout = self._timeout_seconds if timeout_seconds is None else timeout_seconds
        call = getattr(self._stub, method)(request, timeout=timeout, metadata=_trace_metadata())
        try:
            # grpc.aio never frees what a call of its own had received when it was cancelled: a
            # kibibyte at least, and the reply where that had come.
            return await asyncio.shield(call)
        except grpc.aio.AioRpcError as error:
            raise translate_error(error, self._target, timeout) from error


def _trace_metadata() -> tuple[tuple[str, str], ...] | None:
    traceparent = outgoing_traceparent.get()
    return None if traceparent is None else ((TRACEPARENT, traceparent),)


class BlockingRemoteEncoder:
    """The same for code without an event loop, with an `EncoderEngine`'s `model` and `encode`.

    It is meant for long lists of texts: where the encoder's queue is full it waits for its turn.
    """

    def __init__(
        self, target: str, *, timeout_seconds: float = 120.0, patience_seconds: float = 600.0
    ) -> None:
        """
        Args:
            target: host:port.
            timeout_seconds: for each call. A long list of texts is several calls.
            patience_seconds: how long a call may be put off by a full queue.
        """
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._channel = grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
        self._stub: Any = EncoderStub(self._channel)  # type: ignore[no-untyped-call]
        self._model: EncoderModel | None = None

    @property
    def model(self) -> EncoderModel:
        """The model that is served, as it was last seen. Raises EncoderUnavailable."""
        if self._model is None:
            reply = self._call("Describe", encoder_pb2.DescribeRequest(), _DESCRIBE_SECONDS)
            self._model = model_of(reply)
        return self._model

    def encode(
        self, texts: Sequence[str], *, kind: EmbeddingKind, with_tokens: bool = False
    ) -> list[Encoding]:
        """Return one encoding per text, in order.

        Raises:
            EncoderUnavailable: no answer, or a full queue for longer than the patience;
                `EncoderRefused` where the encoder takes no such text.
        """
        encodings: list[Encoding] = []
        for part in split_texts(texts, with_tokens=with_tokens):
            request = embed_request(part, kind, with_tokens=with_tokens)
            reply = self._call_patiently("Embed", request)
            if self._model is not None and self._model.name != reply.model:
                self._model = None
            encodings += encodings_of(
                reply, self._target, expected=len(part), with_tokens=with_tokens
            )
        return encodings

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _call_patiently(self, method: str, request: object) -> Any:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                return self._call(method, request, self._timeout_seconds)
            except EncoderOverloaded as refusal:
                if time.monotonic() + refusal.retry_after_seconds > deadline:
                    raise
                time.sleep(refusal.retry_after_seconds)

    def _call(self, method: str, request: object, timeout_seconds: float) -> Any:
        try:
            return getattr(self._stub, method)(request, timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise translate_error(error, self._target, timeout_seconds) from error
