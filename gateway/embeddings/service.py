"""Answers requests for embeddings: by the encoder, or by the backend that serves the model."""

import asyncio
from time import perf_counter

from starlette.types import Receive, Send

from contracts.encoder import MODEL_ALIAS
from contracts.payloads import FlowStage
from gateway.backends.route import ModelRoute
from gateway.backends.router import BackendRouter
from gateway.chat.writers import send_whole
from gateway.disconnect import ClientDisconnected, DisconnectWatch
from gateway.embedding_events import embedding_payloads
from gateway.embeddings.by_backend import embed_by_backend
from gateway.embeddings.by_encoder import embed_by_encoder
from gateway.embeddings.reply import EmbeddingsReply
from gateway.embeddings.served_encoder import ServedEncoder
from gateway.errors import (
    BackendError,
    EncoderBusy,
    EncoderDown,
    GatewayError,
    ModelNotFound,
    ShuttingDown,
)
from gateway.metrics import GatewayMetrics
from gateway.openai.embeddings import EmbeddingsRequest
from gateway.publisher import EventPublisher
from gateway.request_context import RequestContext
from gateway.request_events import request_event
from knowledge.ports import EncoderUnavailable


class EmbeddingsService:
    """Answers requests for embeddings, for its own models' names by the encoder."""

    def __init__(
        self,
        router: BackendRouter,
        encoder: ServedEncoder | None,
        publisher: EventPublisher,
        metrics: GatewayMetrics,
    ) -> None:
        """
        Args:
            encoder: None where it is turned off.
        """
        self._router = router
        self._encoder = encoder
        self._publisher = publisher
        self._metrics = metrics

    async def answer(
        self, request: EmbeddingsRequest, context: RequestContext, *, receive: Receive, send: Send
    ) -> None:
        """Answer `request`, and queue the call's events before the last byte is sent.

        Raises:
            GatewayError: nothing has been sent yet, and the client is to be told this.
        """
        context.model = request.model
        context.call_status = "failed"
        context.require_model(request.model)
        try:
            async with DisconnectWatch(receive):
                reply = await self._embed(request, context)
        except ClientDisconnected:
            context.call_status = "cancelled"
            return
        except asyncio.CancelledError:
            # The server cancels what still runs when its grace for shutting down is over.
            raise ShuttingDown from None
        except GatewayError as error:
            self._count_failure(error)
            raise
        await send_whole(send, reply.status, reply.content_type, reply.headers, reply.body)

    async def _embed(self, request: EmbeddingsRequest, context: RequestContext) -> EmbeddingsReply:
        server = await self._choose(request.model)
        started = perf_counter()
        if isinstance(server, ServedEncoder):
            context.backend, stage = MODEL_ALIAS, "embed"
            reply = await embed_by_encoder(server, request)
        else:
            context.backend, stage = server.backend, "backend"
            reply = await embed_by_backend(server, request, context)
        seconds = perf_counter() - started
        if context.trace is not None:
            offset = started - context.started
            context.trace.stages = [
                FlowStage(name=stage, offset_seconds=offset, duration_seconds=seconds)
            ]
        timing = f"{stage};dur={seconds * 1000:.3f}"
        reply.headers.append((b"server-timing", timing.encode()))
        if 200 <= reply.status < 300:
            self._record(request, reply, context, context.backend, seconds)
        else:
            self._metrics.count_backend_error(context.backend, f"http_{reply.status}")
        return reply

    async def _choose(self, model: str) -> ModelRoute | ServedEncoder:
        """Return who serves `model`, the encoder before any backend.

        Raises:
            ModelNotFound: nobody serves it.
            EncoderDown: the encoder might, and cannot be asked.
            BackendError: a backend might, and cannot be asked.
        """
        unknown: EncoderUnavailable | None = None
        if self._encoder is not None:
            try:
                if await self._encoder.serves(model):
                    return self._encoder
            except EncoderUnavailable as error:
                unknown = error
        try:
            return await self._router.route(model)
        except ModelNotFound as error:
            served = error.served
        if unknown is not None:
            raise EncoderDown(str(unknown))
        if self._encoder is not None:
            served = [*served, *(each.model_id for each in await self._encoder.served_models())]
        raise ModelNotFound(model, served)

    def _record(
        self,
        request: EmbeddingsRequest,
        reply: EmbeddingsReply,
        context: RequestContext,
        backend: str,
        seconds: float,
    ) -> None:
        context.call_status = "completed"
        context.usage = reply.usage
        self._metrics.count_tokens(backend, reply.usage)
        payloads = embedding_payloads(
            model=reply.model,
            kind=request.kind,
            input_count=request.input_count,
            dimensions=reply.dimensions,
            duration_seconds=seconds,
            prompt_tokens=reply.usage.prompt_tokens,
        )
        self._publisher.publish_all(
            [(subject, request_event(payload, context)) for subject, payload in payloads]
        )

    def _count_failure(self, error: GatewayError) -> None:
        if isinstance(error, BackendError):
            self._metrics.count_backend_error(error.backend, error.reason)
        elif isinstance(error, EncoderBusy):
            self._metrics.count_backend_error(MODEL_ALIAS, "overloaded")
        elif isinstance(error, EncoderDown):
            self._metrics.count_backend_error(MODEL_ALIAS, "unavailable")
