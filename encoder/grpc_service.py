"""The encoder's gRPC side."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as grpc_health_aio

from contracts.encoder import MAX_MESSAGE_BYTES, RETRY_AFTER
from contracts.headers import TRACEPARENT
from contracts.protos import encoder_pb2
from contracts.protos.encoder_pb2_grpc import (
    EncoderServicer,
    add_EncoderServicer_to_server,
)
from encoder.errors import EncoderError, InvalidRequest
from encoder.metrics import EncoderMetrics
from encoder.service import EncoderService
from knowledge.encoding.embedding_messages import to_message
from knowledge.ports import EmbeddingKind

if TYPE_CHECKING:
    from contracts.tracing.tracing import Tracing

R = TypeVar("R")

_SERVICE_NAME = "sluice.encoder.v1.Encoder"
_STOP_SECONDS = 0.5

_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Two encoders on one port would share its connections without a word.
    ("grpc.so_reuseport", 0),
    # Clients look every 20 s whether the host is still there.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)

_KINDS: Mapping[int, EmbeddingKind] = {
    encoder_pb2.KIND_QUERY: "query",
    encoder_pb2.KIND_DOCUMENT: "document",
}

_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}

_log = structlog.get_logger("encoder.grpc")


class GrpcServer:
    """Listens on its port, and says over the health service when the model is there."""

    def __init__(
        self, service: EncoderService, metrics: EncoderMetrics, tracing: "Tracing | None" = None
    ) -> None:
        self._servicer = _EncoderServicer(service, metrics, tracing)
        self._health = grpc_health_aio.HealthServicer()
        self._server: Any = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises RuntimeError where the port cannot be bound."""
        self._server = grpc.aio.server(options=_OPTIONS)
        add_EncoderServicer_to_server(self._servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()

    async def announce_model(self) -> None:
        """Say that the service has its model."""
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Take no more calls, and give those under way a moment."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(_STOP_SECONDS)

    async def _set_health(self, status: Any) -> None:
        for name in ("", _SERVICE_NAME):
            await self._health.set(name, status)


class _EncoderServicer(EncoderServicer):
    """Answers what the proto declares."""

    def __init__(
        self, service: EncoderService, metrics: EncoderMetrics, tracing: "Tracing | None"
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._tracing = tracing

    async def Describe(  # noqa: N802 - the proto's name
        self, _request: encoder_pb2.DescribeRequest, context: Any
    ) -> encoder_pb2.Model:
        return await self._answer("Describe", self._describe, context)

    async def Embed(  # noqa: N802 - the proto's name
        self, request: encoder_pb2.EmbedRequest, context: Any
    ) -> encoder_pb2.EmbedReply:
        return await self._answer("Embed", lambda: self._embed(request), context)

    async def Rerank(  # noqa: N802 - the proto's name
        self, request: encoder_pb2.RerankRequest, context: Any
    ) -> encoder_pb2.RerankReply:
        return await self._answer("Rerank", lambda: self._rerank(request), context)

    async def _describe(self) -> encoder_pb2.Model:
        model = self._service.model
        return encoder_pb2.Model(
            name=model.name,
            dimensions=model.dimensions,
            token_dimensions=model.token_dimensions or 0,
            is_rerank_recommended=model.is_rerank_recommended,
            max_query_tokens=model.max_query_tokens,
            max_document_tokens=model.max_document_tokens,
        )

    async def _embed(self, request: encoder_pb2.EmbedRequest) -> encoder_pb2.EmbedReply:
        kind = _KINDS.get(request.kind)
        if kind is None:
            raise InvalidRequest(
                "`kind` is missing: it must be KIND_QUERY or KIND_DOCUMENT, which the model embeds"
                " differently."
            )
        encodings = await self._service.embed(
            list(request.texts), kind=kind, with_tokens=request.with_tokens
        )
        return encoder_pb2.EmbedReply(
            model=self._service.model.name, embeddings=[to_message(each) for each in encodings]
        )

    async def _rerank(self, request: encoder_pb2.RerankRequest) -> encoder_pb2.RerankReply:
        scores, _ = await self._service.rerank(request.query, list(request.texts))
        return encoder_pb2.RerankReply(model=self._service.model.name, scores=scores.tolist())

    async def _answer(self, method: str, work: Callable[[], Awaitable[R]], context: Any) -> R:
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        try:
            reply = await work()
            code = grpc.StatusCode.OK
            return reply
        except EncoderError as error:
            code = _CODES.get(error.status, grpc.StatusCode.INTERNAL)
            await context.abort(code, error.message, _metadata_of(error))
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            _log.exception("unexpected error", method=method)
            await context.abort(code, "Unexpected error in the encoder; its log says more.")
            raise
        finally:
            self._metrics.observe_request(
                f"grpc/{method}", code.name, time.perf_counter() - started
            )
            if self._tracing is not None:
                self._trace(self._tracing, method, code, started, context)

    def _trace(
        self, tracing: "Tracing", method: str, code: grpc.StatusCode, started: float, context: Any
    ) -> None:
        metadata = dict(context.invocation_metadata() or ())
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": _SERVICE_NAME,
            "rpc.method": method,
            "rpc.grpc.status_code": code.value[0],
        }
        tracing.record_served_call(
            f"{_SERVICE_NAME}/{method}",
            metadata.get(TRACEPARENT),
            started,
            attributes,
            error=None if code is grpc.StatusCode.OK else code.name,
        )


def _metadata_of(error: EncoderError) -> tuple[tuple[str, str], ...]:
    if error.retry_after_seconds is None:
        return ()
    return ((RETRY_AFTER, str(error.retry_after_seconds)),)
